"""Records that are known and make no row: what they are, and where they may stand."""

from curate.pool.layouts.example import Record
from curate.pool.layouts.pairs import PAIRS

DOCUMENT_FIELDS = ("text", "content", "body", "document", "passage")
SINGLE_MESSAGES = (
    "They look like single messages of OpenAssistant's trees: give the file of whole trees, whose "
    "records have a `prompt` with `replies`"
)
UNKNOWN = (
    "Name yours in the config, e.g. fields: {prompt: query, response: reply}, or write columns out "
    "with a `template:`"
)


def describe_unfit(record: Record) -> str:
    """Return what a record that fits no layout looks like, and what to do with it."""
    if "parent_id" in record and "text" in record and "role" in record:
        return SINGLE_MESSAGES
    prompt = next((pair.prompt for pair in PAIRS if record.get(pair.prompt)), None)
    if prompt is None and isinstance(record.get("turns"), list):
        prompt = "turns"
    if prompt is not None:
        return (
            f"They look like prompts without an answer (`{prompt}`): give them to generators as "
            "`prompts:`, to the leak check as `protected:` or, where nothing is proved, as "
            "`target.eval`. Or name the field of the response, "
            f"e.g. fields: {{prompt: {prompt}, response: reply}}"
        )
    document = next((f for f in DOCUMENT_FIELDS if isinstance(record.get(f), str)), None)
    if document is None:
        return UNKNOWN
    return (
        f"They look like documents and no instructions (`{document}`): give them to a generator as its "
        "`corpus:`, or name other fields, e.g. fields: {prompt: query, response: reply}"
    )
