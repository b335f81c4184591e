"""Records shaped as well-known data sets are, in words of our own: their turns, or why there are none.

Turns are written "u: a prompt / a: <its reasoning> an answer"; "r:" is the rejected answer.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from curate.core.errors import UserError
from curate.core.rows import Message
from curate.pool.layouts import RecordFault, file_reader
from tests.conftest import turns

AB = turns("a", "b")
CHOSEN = {"chosen": AB, "rejected": turns("a", "c")}
SHAREGPT = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
TOOL = {"name": "find", "description": "Finds.", "parameters": {"what": {"type": "str"}}}
CALL = {"name": "find", "arguments": {"what": "tern"}}
EITHER = {"text": ["red", "blue"], "label": ["A", "B"]}
LISTED = "u: q -  - A) red - B) blue / a: B) blue"

SCORED = [{"response": text, "overall_score": score, "annotations": {"honesty": {"Rating": rating}}}
          for text, score, rating in (("c", 7.5, "3"), ("d", 2.0, "5"), ("b", 7.5, "4"))]  # fmt: skip
ARENA = {"id": 1, "prompt": '["a", "d"]', "response_a": '["c", "f"]', "response_b": '["b", "e"]',
         "winner_model_a": 0, "winner_model_b": 1, "winner_tie": 0}  # fmt: skip
GENERATED = {"problem": "a", "solution": "z", "answer": "4", "generations": ["c", "d", "b"],
             "correctness_math_verify": [True, False, True], "correctness_llama": None,
             "is_reasoning_complete": [False, True, True]}  # fmt: skip
S1K = {"question": "a", "solution": "z", "cot_type": "math", "metadata": "{}"}


def moss_turn(human: str, answer: str, thought: str = "None", call: str = "None") -> dict[str, str]:
    """Return a turn as MOSS-003 has it."""
    return {
        "Human": f"<|Human|>: {human}<eoh>\n",
        "Inner Thoughts": f"<|Inner Thoughts|>: {thought}<eot>\n",
        "Commands": f"<|Commands|>: {call}<eoc>\n",
        "Tool Responses": "<|Results|>: None<eor>\n",
        "MOSS": f"<|MOSS|>: {answer}<eom>\n",
    }


READ: dict[str, tuple[dict[str, Any], str]] = {
    # chats
    "openhermes": ({"conversations": [t | {"weight": None} for t in SHAREGPT], "system_prompt": None,
                    "category": "x", "source": "y", "model": None}, "u: a / a: b"),
    "slimorca": ({"conversations": [{"from": "system", "value": "s", "weight": None},
                                    SHAREGPT[0] | {"weight": 0}, SHAREGPT[1] | {"weight": 1}]},
                 "s: s / u: a / a: b"),
    "openorca": ({"id": "n", "system_prompt": "s", "question": "a", "response": "b"},
                 "s: s / u: a / a: b"),
    "wildchat": ({"conversation": [t | {"language": "English", "toxic": False, "header": {"x": "y"}}
                                   for t in AB], "openai_moderation": [{}]}, "u: a / a: b"),
    "lmsys": ({"conversation_id": "1", "conversation": AB, "turn": 1}, "u: a / a: b"),
    "magpie": ({"instruction": "a", "response": "b", "conversations": SHAREGPT,
                "intent": "wants to know"}, "u: a / a: b"),
    "capybara": ({"source": "x", "conversation": [{"input": "a", "output": "b"},
                                                  {"input": "c", "output": "d"}]},
                 "u: a / a: b / u: c / a: d"),
    "openthoughts": ({"system": "Think.", "conversations": [{"from": "user", "value": "a"},
                                                            {"from": "assistant", "value": "b"}]},
                     "s: Think. / u: a / a: b"),
    "numinamath": ({"problem": "a", "solution": "b", "messages": AB}, "u: a / a: b"),
    "smoltalk": ({"messages": AB, "source": "x"}, "u: a / a: b"),
    "smoltalk2": ({"messages": AB, "chat_template_kwargs": {
        "custom_instructions": "", "enable_thinking": False, "xml_tools": []}}, "u: a / a: b"),
    "tulu3": ({"id": "1", "messages": AB, "source": "x"}, "u: a / a: b"),
    "no robots": ({"prompt": "a", "prompt_id": "1", "messages": AB, "category": "Chat"},
                  "u: a / a: b"),
    "lima": ({"conversations": ["a", "b"], "source": "x"}, "u: a / a: b"),
    "ultrachat": ({"id": "0", "data": ["a", "b", "c", "d"]}, "u: a / a: b / u: c / a: d"),
    "chat-ui": ({"messages": [{"from": "user", "content": "a"},
                              {"from": "assistant", "content": "b"}]}, "u: a / a: b"),
    "guanaco": ({"text": "### Human: a### Assistant: b"}, "u: a / a: b"),
    "llama 2": ({"text": "<s>[INST] <<SYS>>\ns\n<</SYS>>\n\na [/INST] b </s><s>[INST] c [/INST] d </s>"},
                "s: s / u: a / a: b / u: c / a: d"),
    "mistral": ({"prompt": "<s>[INST] a [/INST]", "completion": "b"}, "u: a / a: b"),
    "gemma": ({"text": "<bos><start_of_turn>user\na<end_of_turn>\n"
                       "<start_of_turn>model\nb<end_of_turn>\n"}, "u: a / a: b"),
    "phi": ({"text": "<|system|>\ns<|end|>\n<|user|>\na<|end|>\n"
                     "<|assistant|>\nb<|end|>\n<|endoftext|>"}, "s: s / u: a / a: b"),
    "zephyr": ({"text": "<|user|>\na</s>\n<|assistant|>\nb</s>"}, "u: a / a: b"),
    "tulu": ({"text": "<|user|>\na\n<|assistant|>\nb<|endoftext|>"}, "u: a / a: b"),
    "llama 4": ({"text": "<|begin_of_text|><|header_start|>user<|header_end|>\n\na<|eot|>"
                         "<|header_start|>assistant<|header_end|>\n\nb<|eot|>"}, "u: a / a: b"),
    "deepseek": ({"text": "<｜begin▁of▁sentence｜><｜User｜>a<｜Assistant｜>b<｜end▁of▁sentence｜>"},
                 "u: a / a: b"),
    "prompt of gemma": ({"prompt": "<start_of_turn>user\na<end_of_turn>\n<start_of_turn>model\n",
                         "completion": "b<end_of_turn>\n"}, "u: a / a: b"),
    "prompt in chatml": ({"prompt": "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n",
                          "chosen": "b<|im_end|>\n<|endoftext|>", "rejected": "c<|im_end|>"},
                         "u: a / a: b / r: c"),
    "end in an answer": ({"prompt": "a", "completion": "b</s>"}, "u: a / a: b</s>"),
    "hh red team": ({"transcript": "\n\nHuman: a\n\nAssistant: b", "rating": 4}, "u: a / a: b"),
    "moss 3": ({"meta_instruction": "s", "num_turns": 2, "chat": {"turn_2": moss_turn("c", "d", "t"),
                                                                 "turn_1": moss_turn("a", "b")}},
               "s: s / u: a / a: b / u: c / a: <t> d"),
    "moss 2": ({"prefix": "s", "num_turns": 2, "plain_text": "[Human]: a<eoh> [MOSS]: b<eoa> "
                "[Human]: c<eoh> [MOSS]: d<eoa>"}, "s: s / u: a / a: b / u: c / a: d"),
    # reasoning
    "openr1 math": (GENERATED | {"messages": turns("a", "c")}, "u: a / a: c"),
    "openr1 raw": (GENERATED, "u: a / a: b"),
    "dolphin r1": ({"messages": [{"role": "system", "content": "s"}, AB[0]], "reasoning": "t",
                    "answer": "b", "model": "m"}, "s: s / u: a / a: <t> b"),
    "acemath": ({"messages": AB[:1], "answer": "b"}, "u: a / a: b"),
    "openthoughts metadata": ({"problem": "a", "deepseek_reasoning": "t", "deepseek_solution": "b",
                               "ground_truth_solution": "z", "starter_code": "def f():"},
                              "u: a -  - def f(): / a: <t> b"),
    "s1k": (S1K | {"thinking_trajectories": ["t"], "attempt": "b"}, "u: a / a: <t> b"),
    "s1k 1.1": (S1K | {"gemini_attempt": "c", "deepseek_attempt": "b", "gemini_thinking_trajectory": "v",
                       "deepseek_thinking_trajectory": "t"}, "u: a / a: <t> b"),
    "medical o1": ({"Question": "a", "Complex_CoT": "t", "Response": "b"}, "u: a / a: <t> b"),
    "nemotron": ({"messages": AB, "reasoning": "off", "category": "math"}, "u: a / a: b"),
    "kingnish": ({"user": "a", "reasoning": "t", "assistant": "b", "template": "a, t, b " * 40},
                 "u: a / a: <t> b"),
    "natural reasoning": ({"question": "a", "reference_answer": "z", "responses": [
        {"response_model": "m", "response": "b"}]}, "u: a / a: b"),
    "deepmath": ({"question": "a", "final_answer": "4", "difficulty": 5.0, "r1_solution_1": "b",
                  "r1_solution_2": "c", "r1_solution_3": "d"}, "u: a / a: b"),
    "agentinstruct": ({"conversations": [
        {"from": "human", "loss": None, "value": "a"}, {"from": "gpt", "loss": False, "value": "b"},
        {"from": "human", "loss": None, "value": "c"}, {"from": "gpt", "loss": True, "value": "d"}]},
        "u: a / a0: b / u: c / a: d"),
    "lost turn": ({"messages": [AB[0], AB[1] | {"loss": 1.7}]}, "u: a / a: b"),
    "r1 distilled": ({"input": "a", "reasoning_content": "t", "content": "b", "repo_name": "x",
                      "score": 10}, "u: a / a: <t> b"),
    "synthetic 1": ({"prompt": "a", "llm_response": "b", "gold_standard_solution": "z", "score": 1.0},
                    "u: a / a: b"),
    "reasoning base": ({"prompt": "a", "response": "b", "model_reasoning": "t"}, "u: a / a: <t> b"),
    "soda": ({"dialogue": ["a", "b"], "speakers": ["Ann", "Bo"], "narrative": "x"}, "u: a / a: b"),
    "gpt-oss multilingual": ({"developer": "s", "user": "a", "analysis": "t", "final": "b", "messages": [
        {"role": "system", "content": "s", "thinking": None}, AB[0] | {"thinking": None},
        AB[1] | {"thinking": "t"}]}, "s: s / u: a / a: <t> b"),
    # pairs
    "cosmopedia": ({"prompt": "a", "text": "b", "text_token_length": 3, "audience": "x"},
                   "u: a / a: b"),
    "daring anteater": ({"system": "", "mask": "User", "conversations": [
        {"from": "User", "value": "a", "label": None},
        {"from": "Assistant", "value": "b", "label": "quality:4"}]}, "u: a / a: b"),
    "open code reasoning": ({"id": "1", "input": "a", "output": "<think>t</think> b", "solution": "b",
                             "split": "split_0"}, "u: a / a: <think>t</think> b"),
    "orca agent": ({"messages": json.dumps([{"role": "system", "content": "s"}, *AB])},
                   "s: s / u: a / a: b"),
    "nemotron 1": ({"input": AB[:1], "output": "b", "reasoning": "on", "system_prompt": "s"},
                   "s: s / u: a / a: b"),
    "capitals": ({"Question": "a", "Answer": "b", "Link": "x"}, "u: a / a: b"),
    "metamath": ({"type": "x", "query": "a", "original_question": "z", "response": "b"},
                 "u: a / a: b"),
    "code alpaca": ({"instruction": "a", "input": "", "output": "b", "text": "Below: a. So: b"},
                    "u: a / a: b"),
    "belle": ({"instruction": "Human:a\nAssistant:b\nHuman:c\nAssistant:", "input": "",
               "output": "d"}, "u: a / a: b / u: c / a: d"),
    "few shots": ({"instruction": "Human: x\nAssistant: y\nHow do they feel?", "output": "b"},
                  "u: Human: x - Assistant: y - How do they feel? / a: b"),
    "firefly": ({"kind": "NLI", "input": "a", "target": "b"}, "u: a / a: b"),
    "coig": ({"instruction": "a", "input": "x", "output": "b", "domain": ["y"]}, "u: a -  - x / a: b"),
    "aya": ({"inputs": "a", "targets": "b", "language_code": "eng"}, "u: a / a: b"),
    "p3": ({"inputs": [5, 1], "inputs_pretokenized": "a", "targets": [7, 1],
            "targets_pretokenized": "b"}, "u: a / a: b"),
    "dolly": ({"instruction": "a", "context": "x", "response": "b", "category": "qa"},
              "u: a -  - x / a: b"),
    "ragbench": ({"question": "a", "documents": ["x", "y"], "response": "b"},
                 "u: a -  - x -  - y / a: b"),
    "open math": ({"problem": "a", "generated_solution": "b", "expected_answer": "4"}, "u: a / a: b"),
    "limo": ({"question": "a", "solution": "So it is 4.", "answer": "4"}, "u: a / a: So it is 4."),
    "math": ({"problem": "a", "level": "Level 5", "type": "Algebra", "solution": "b"}, "u: a / a: b"),
    "gsm8k": ({"question": "a", "answer": "#### 4"}, "u: a / a: #### 4"),
    "mbpp": ({"text": "a", "code": "b", "test_list": ["assert f(1)"]}, "u: a / a: b"),
    "camel": ({"role_1": "x", "topic": "y", "message_1": "a", "message_2": "b"}, "u: a / a: b"),
    "distilabel": ({"instruction": "a", "generation": "b", "model_name": "m"}, "u: a / a: b"),
    "text to sql": ({"question": "a", "context": "CREATE", "answer": "b"}, "u: a -  - CREATE / a: b"),
    "super-ni": ({"Definition": ["Do."], "Positive Examples": [], "Instances": [
        {"id": "1", "input": "x", "output": ["b", "c"]}]}, "u: Do. -  - x / a: b"),
    # answers
    "squad": ({"title": "t", "context": "x", "question": "a",
               "answers": {"text": ["b", "c"], "answer_start": [1, 1]}}, "u: a -  - x / a: b"),
    "natural questions": ({"question": "a", "answer": ["b", "c"]}, "u: a / a: b"),
    "trivia qa": ({"question": "a", "answer": {"aliases": ["c"], "value": "b"}}, "u: a / a: b"),
    "stack exchange": ({"qid": 1, "question": "a", "answers": [
        {"text": "worse", "pm_score": 1}, {"text": "b", "pm_score": 7},
        {"text": "c", "pm_score": 3}]}, "u: a / a: b"),
    "scored texts": ({"question": "a", "answers": {"text": ["c", "b"], "score": [2, 9]}}, "u: a / a: b"),
    "truthful qa": ({"question": "a", "best_answer": "b", "correct_answers": ["b", "c"]},
                    "u: a / a: b"),
    # choices
    "arc": ({"question": "q", "choices": EITHER, "answerKey": "B"}, LISTED),
    "mmlu": ({"question": "q", "choices": ["red", "blue"], "answer": 1}, LISTED),
    "mmlu pro": ({"question": "q", "options": ["red", "blue"], "answer": "B", "answer_index": 1,
                  "cot_content": ""}, LISTED),
    "hellaswag": ({"ctx": "q", "endings": ["red", "blue"], "label": "1"}, LISTED),
    "medmcqa": ({"question": "q", "opa": "red", "opb": "blue", "cop": 1, "exp": None}, LISTED),
    "medqa": ({"question": "q", "options": {"A": "red", "B": "blue"}, "answer": "blue",
               "answer_idx": "B"}, LISTED),
    "aqua": ({"question": "q", "options": ["A)red", "B)blue"], "correct": "B"}, LISTED),
    # preferences
    "ultrafeedback": ({"prompt": "a", "prompt_id": "1", "messages": AB, "score_chosen": 8.0, **CHOSEN},
                      "u: a / a: b / r: c"),
    "hh-rlhf": ({"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: c"},
                "u: a / a: b / r: c"),
    "orca dpo": ({"system": "s", "question": "a", "chosen": "b", "rejected": "c"},
                 "s: s / u: a / a: b / r: c"),
    "orpo": ({"prompt": "a", "question": "a", **CHOSEN}, "u: a / a: b / r: c"),
    "instruct dpo": ({"instruction": "a", "chosen_response": "b", "rejected_response": "c"},
                     "u: a / a: b / r: c"),
    "helpsteer2": ({"prompt": "a", "response_1": "c", "response_2": "b", "preference_strength": 2,
                    "preference_statement": "2 is better"}, "u: a / a: b / r: c"),
    "helpsteer3": ({"domain": "x", "context": [*AB, AB[0]], "response1": "d", "response2": "c",
                    "overall_preference": -1}, "u: a / a: b / u: a / a: d / r: c"),
    "safe-rlhf": ({"prompt": "a", "response_0": "c", "response_1": "b", "better_response_id": 1,
                   "is_response_0_safe": True}, "u: a / a: b / r: c"),
    "shp": ({"history": "a", "human_ref_A": "b", "human_ref_B": "c", "labels": 1, "score_A": 9},
            "u: a / a: b / r: c"),
    "stack paired": ({"question": "a", "response_j": "b", "response_k": "c"}, "u: a / a: b / r: c"),
    "arena": ({"model_a": "m", "winner": "model_b", "conversation_a": turns("a", "c"),
               "conversation_b": AB}, "u: a / a: b / r: c"),
    "arena 55k": (ARENA, "u: a / a: b / u: d / a: e / r: c / r: d / r: f"),
    "arena 55k csv": ({**ARENA, "prompt": '["a"]', "response_a": '["b"]', "response_b": '["c"]',
                       "winner_model_a": "1", "winner_model_b": "0"}, "u: a / a: b / r: c"),
    "ultrafeedback raw": ({"source": "x", "instruction": "a", "models": ["m"], "completions": SCORED,
                           "correct_answers": ["None"]}, "u: a / a: b / r: d"),
    "ultrafeedback ratings": ({"instruction": "a", "completions": [
        {"response": "c", "annotations": {"honesty": {"Rating": "N/A"}, "truth": {"Rating": "2"}}},
        {"response": "b", "annotations": {"honesty": {"Rating": "3"}}}]}, "u: a / a: b / r: c"),
    "one completion": ({"instruction": "a", "completions": [{"response": "b"}]}, "u: a / a: b"),
    "ultrainteract": ({"trajectory": [SHAREGPT[0]], "chosen": "b", "rejected": "c", "task": "x"},
                      "u: a / a: b / r: c"),
    "arena 140k": ({"winner": "model_b", **{f"conversation_{side}": [
        {"role": role, "content": [{"type": "text", "text": text, "image": None, "mimeType": None}]}
        for role, text in (("user", "a"), ("assistant", answer))]
        for side, answer in (("a", "c"), ("b", "b"))}}, "u: a / a: b / r: c"),
    "nectar": ({"prompt": "\n\nHuman: a\n\nAssistant: ", "turns": 1, "answers": [
        {"answer": "c", "rank": 2.0}, {"answer": "b", "rank": 1.0}]}, "u: a / a: b / r: c"),
    "kto": ({"prompt": "a", "completion": "b", "label": True}, "u: a / a: b"),
}  # fmt: skip

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "smoltalk2": ({"messages": AB, "chat_template_kwargs": {"custom_instructions": "Be a pirate."}},
                  "unread_field: chat_template_kwargs.custom_instructions"),
    "openr1 math": ({"problem": "a", "solution": "z", "messages": AB}, "unread_field: solution"),
    "kto": ({"prompt": "a", "completion": "b", "label": False}, "unread_field: label = false"),
    "prefilled": ({"prompt": "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<think>\n",
                   "completion": "b"}, "unread_field: prompt: its answer has begun already"),
    "tie": ({"prompt": "a", "response_1": "b", "response_2": "c", "preference_strength": 0},
            "unread_field: preference_strength = 0: neither is preferred"),
    "arena tie": ({"winner": "tie (bothbad)", "conversation_a": AB, "conversation_b": AB},
                  "unread_field: winner = 'tie .bothbad.': neither"),
    "arena 55k tie": (ARENA | {"winner_model_b": 0, "winner_tie": 1}, "winner_model_a = 0, "
                      "winner_model_b = 0: neither is preferred"),
    "arena 55k null": (ARENA | {"response_a": '["c", null]'}, "response_a: no JSON list of texts"),
    "arena 55k rounds": (ARENA | {"response_b": '["b"]'}, "response_b: 1 of 2 rounds"),
    "ultrafeedback tie": ({"instruction": "a", "completions": [SCORED[0], SCORED[2]]},
                          "completions: all 2 score the same: none is preferred"),
    "completions": ({"instruction": "a", "completions": [SCORED[0], {"response": "b"}]},
                    r"completions\[1\].overall_score: nothing says which answer is the best; name one, "
                    r"e.g. fields: {prompt: instruction, response: 'completions\[0\].response'}"),
    "generations": ({"problem": "a", "generations": ["b", "c"]},
                    r"which of 2 generations is right; name one, e.g. fields: {prompt: problem, "),
    "openr1 wrong": (GENERATED | {"correctness_math_verify": [True, False, False]},
                     "generations: none is marked as right and complete"),
    "openr1 other": (GENERATED | {"messages": AB[:1] + turns("a", "q")[1:]},
                     "generations: the last turn is none of them"),
    "moss call": ({"meta_instruction": "s", "chat": {"turn_1": moss_turn("a", "b", call='Look("x")')}},
                  "unread_field: chat.turn_1.Commands: a call without names of its arguments"),
    "moss text": ({"plain_text": "[Human]: a<eoh> [MOSS]: b<eoa> and [Human]: c<eoh>"},
                  "plain_text: text between turns"),
    "chatqa": ({"messages": AB[:1], "answers": ["b"], "document": "x"}, "unread_field: document"),
    "soda": ({"dialogue": ["a", "b", "c"], "speakers": ["Ann", "Ann", "Bo"]},
             "unread_field: speakers: not two who speak by turns"),
    "copa": ({"premise": "It sank.", "choice1": "x", "choice2": "y", "question": "cause", "label": 1},
             "unread_field: label = 1: of which option"),
    "squad v2": ({"context": "x", "question": "a", "answers": {"text": [], "answer_start": []}},
                 r"missing_field: answers.text\[0\]"),
    "ms marco": ({"query": "a", "answers": ["b"], "passages": {"passage_text": ["x"]}},
                 "wrong_type: passages"),
    "hotpot qa": ({"question": "a", "answer": "b", "context": {"title": ["t"], "sentences": [["x"]]}},
                  "wrong_type: context"),
    "boolq": ({"question": "a", "passage": "x", "answer": True}, "wrong_type: answer"),
    "dialogue": ({"messages": AB, "documents": [{"title": "t", "text": "x"}]},
                 "unread_field: documents"),
    "nli": ({"prompt": "Does it follow?", "completion": "yes", "premise": "It rains.",
             "hypothesis": "It is wet."}, "unread_field: premise"),
}  # fmt: skip

UNKNOWN: dict[str, tuple[dict[str, Any], str]] = {
    "xsum": ({"document": "x", "summary": "y", "id": "1"}, "look like documents"),
    "samsum": ({"id": "1", "dialogue": "A: hi", "summary": "y"}, "with a `template:`"),
    "nli": ({"premise": "x", "hypothesis": "y", "label": 1}, "with a `template:`"),
    "translation": ({"translation": {"en": "boat", "fr": "bateau"}}, "with a `template:`"),
    "piqa": ({"goal": "x", "sol1": "a", "sol2": "b", "label": 1}, "with a `template:`"),
    "winogrande": ({"sentence": "x _", "option1": "a", "option2": "b", "answer": "1"},
                   "with a `template:`"),
    "humaneval": ({"prompt": "def f():", "canonical_solution": "  pass", "test": "x"},
                  r"prompts without an answer \(`prompt`\)"),
    "oasst flat": ({"message_id": "1", "parent_id": None, "text": "a", "role": "prompter"},
                   "give the file of whole trees"),
}  # fmt: skip


def mark(turn: Message) -> str:
    """Return the letter of a turn's role, with 0 behind it if the turn is not trained on."""
    return turn["role"][0] + ("0" if turn.get("weight") == 0 else "")


def thought(turn: Message) -> str:
    """Return the reasoning of a turn in angle brackets, if it has any."""
    reasoning = turn.get("reasoning")
    return f"<{reasoning}> " if reasoning else ""


def read(record: dict[str, Any]) -> str:
    """Return the turns of a record as the tables have them."""
    [conversation] = file_reader([record], None, "f").read(record).conversations
    if conversation.fault:
        raise conversation.fault
    example = conversation.example
    assert example is not None
    said = [f"{mark(turn)}: {thought(turn)}{turn['content']}" for turn in example.turns]
    said += [f"r: {turn['content']}" for turn in example.rejected or ()]
    return " / ".join(said).replace("\n", " - ")


@pytest.mark.parametrize("name", READ)
def test_the_turns_of_a_shape_are_read(name: str) -> None:
    record, expected = READ[name]
    assert read(record) == expected


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_turn_would_hold_is_refused_by_name(name: str) -> None:
    record, sentence = REFUSED[name]
    with pytest.raises(RecordFault, match=sentence):
        read(record)


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_no_conversation_is_refused_with_what_to_do(name: str) -> None:
    record, sentence = UNKNOWN[name]
    with pytest.raises(UserError, match=sentence):
        file_reader([record], None, "f")


CALLS: dict[str, dict[str, Any]] = {
    "xlam": {"query": "a", "answers": json.dumps([CALL]), "tools": json.dumps([TOOL])},
    "glaive": {
        "system": f"SYSTEM: Use these -\n{json.dumps(TOOL, indent=1)}\n\n{json.dumps(TOOL)}\n",
        "chat": "USER: a\n\n\nASSISTANT: <functioncall> "
        """{"name": "find", "arguments": '{"what": "tern"}'} <|endoftext|>\n\n\n"""
        'FUNCTION RESPONSE: {"at": "sea"}\n\n\nASSISTANT: b <|endoftext|>\n\n\n',
    },
    "glaive 1": {
        "sample": f"SYSTEM: Use these -\n{json.dumps(TOOL, indent=1)},\n{json.dumps(TOOL)}\nUSER: a\n"
        f"ASSISTANT: <functioncall> {json.dumps(CALL)} <|endoftext|>\n"
        'FUNCTION RESPONSE: {"at": "sea"}\nASSISTANT: b\n<|endoftext|>'
    },
    "apigen-mt": {
        "conversations": [
            SHAREGPT[0],
            {"from": "function_call", "value": json.dumps(CALL)},
            {"from": "observation", "value": "{}"},
            SHAREGPT[1],
        ],
        "tools": json.dumps([TOOL]),
    },
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_of_tools_are_read(name: str) -> None:
    [conversation] = file_reader([CALLS[name]], None, "f").read(CALLS[name]).conversations
    example = conversation.example
    assert example is not None and example.tools is not None
    spoken = [turn for turn in example.turns if turn["role"] != "system"]
    assert [turn["role"] for turn in spoken[1:]] in (
        ["assistant"],
        ["assistant", "tool", "assistant"],
    )
    [call] = list(spoken[1].get("tool_calls") or [])
    assert (call["name"], json.loads(call["arguments"])) == ("find", {"what": "tern"})
    assert json.loads(example.tools)[0]["function"]["name"] == "find"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"system": "SYSTEM: Use these {broken"}, "wrong_type: system: a schema is no JSON"),
        ({"chat": "USER: a\n\nASSISTANT: <functioncall> find(tern)"}, "chat: no JSON of a call"),
        ({"tools": [{"name": "other", "parameters": {}}]}, "tools are declared elsewhere too"),
    ],
)
def test_a_call_that_cannot_be_read_refuses_its_record(
    change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RecordFault, match=sentence):
        read(CALLS["glaive"] | change)


def test_text_before_schemas_is_the_system_turn() -> None:
    without = {"system": "SYSTEM: Be brief.", "chat": "USER: a\n\n\nASSISTANT: b <|endoftext|>"}
    assert read(without) == "s: Be brief. / u: a / a: b"
