"""The best of several answers by a judge: the first meets the second, the better one the third, ...

Each comparison is blind and in both orders, with the confidence of curate.llm.compare; a challenger has
to be better with more than 0.5. The confidence in the best is the least one of the comparisons that led
to it. Comparing pairs and not grading answers follows Zheng et al. 2023, arXiv:2306.05685; that answers
are knocked out, n - 1 comparisons of n answers where all pairs would be n (n - 1) / 2, is ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from curate.core.rows import Message
from curate.generate.candidates import Candidate, RejectReason
from curate.generate.comparison import compare_responses
from curate.generate.engines import NamedEngine
from curate.generate.generation import Generation, SeedExample
from curate.llm.asking import question_text
from curate.llm.compare import AnswerPair

FLIP = 0.5


@dataclass
class BestAnswer:
    """Which of a question's answers is the best so far, and how sure the judge is of it.

    confidence: None as long as there was no comparison; open: a limit came before the last one; usable:
    the judge said something of use each time.
    """

    best: int = 0
    confidence: float | None = None
    open: bool = False
    usable: bool = True

    def meet(self, challenger: int, preference: float) -> None:
        """Take note of how sure the judge is that a challenger is better."""
        self.best = challenger if preference > FLIP else self.best
        least = 1.0 if self.confidence is None else self.confidence
        self.confidence = min(least, max(preference, 1 - preference))


def best_answers(
    run: Generation, questions: Sequence[str], rivals: Sequence[Sequence[str]], judge: NamedEngine
) -> list[BestAnswer]:
    """Return the best answer to each question; the questions' comparisons go side by side."""
    results = [BestAnswer() for _ in questions]
    for number in range(1, max(map(len, rivals), default=0)):
        pending = [
            i
            for i, answers in enumerate(rivals)
            if number < len(answers) and results[i].usable and not results[i].open
        ]
        pairs = [
            AnswerPair(questions[i], rivals[i][results[i].best], rivals[i][number]) for i in pending
        ]
        scores = compare_responses(run, "judge", pairs, samples=1, engine=judge)
        for i, score in zip(pending, scores, strict=True):
            if score is None:
                results[i].open = True
            elif score.confidence is None:
                results[i].usable = False
            else:
                results[i].meet(number, score.confidence)
    return results


@dataclass(frozen=True)
class JudgedAnswers:
    """A prompt's answers, kept or dropped, with the share that agree or the judge's confidence.

    There are none where a limit came before the judge was done.
    """

    candidates: Sequence[Candidate]
    agreement: float | None = None
    confidence: float | None = None


def keep_best(
    run: Generation,
    prompts: Sequence[SeedExample],
    candidate_lists: Sequence[Sequence[Candidate]],
    judge: NamedEngine,
) -> list[JudgedAnswers]:
    """Return the answers to each prompt, those dropped that are not the best one to the judge."""
    rivals = [[c for c in ones if c.reject_reason is None] for ones in candidate_lists]
    empty = Message(role="assistant", content="")
    questions = [question_text([*prompt.messages, empty]) for prompt in prompts]
    responses = [[candidate.response for candidate in ones] for ones in rivals]
    bests = best_answers(run, questions, responses, judge)
    return [
        JudgedAnswers([]) if best.open else _decide(candidates, some, best)
        for candidates, some, best in zip(candidate_lists, rivals, bests, strict=True)
    ]


def _decide(
    candidates: Sequence[Candidate], rivals: Sequence[Candidate], best: BestAnswer
) -> JudgedAnswers:
    """Return a prompt's answers as the judge leaves them, with its confidence."""
    confidence = None if best.confidence is None else round(best.confidence, 4)

    def decided(candidate: Candidate) -> Candidate:
        if candidate.reject_reason is not None:
            return candidate
        if not best.usable:
            detail = "no usable judgement in one of the orders"
            return candidate.drop(RejectReason.LOW_GRADE, detail)
        if candidate is not rivals[best.best]:
            return candidate.drop(RejectReason.OVER_QUOTA, "the judge finds another one better")
        return candidate if confidence is None else candidate.add_notes(confidence=confidence)

    return JudgedAnswers([decided(one) for one in candidates], confidence=confidence)
