"""Regular expressions of text fields, each with the words that tell a person what to write.

They are written so that the API server's engine (RE2) and pydantic's read them alike: none uses the
class for white space, for example, which means other characters to each.
"""

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
RESOURCE_NAME = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
OBJECT_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
SECRET_KEY = r"^[-._a-zA-Z0-9]+$"  # noqa: S105 - the shape of a key's name, not a key
VARIABLE = r"^[-._a-zA-Z][-._a-zA-Z0-9]*$"
QUANTITY = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][-+]?[0-9]+)?$"
SHARE = r"^([0-9]{1,4}|[0-9]{1,3}%)$"
NO_SPACE = r"^[^\x00-\x20\x7f]+$"
QUALIFIED_NAME = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?$"
)
LABEL_VALUE = r"^([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?)?$"
ABSOLUTE_PATH = r"^/[^\x00-\x20\x7f]*$"
HUB_REPOSITORY = r"^[-._a-zA-Z0-9]+(/[-._a-zA-Z0-9]+)?$"
HTTP_URL = r"^https?://[^\x00-\x20\x7f]+$"
NATS_URL = r"^(nats|tls)://[^\x00-\x20\x7f]+$"
REASON = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"

WORDS = {
    DNS_LABEL: "lower-case letters, digits and dashes, beginning and ending with a letter or digit",
    RESOURCE_NAME: "lower-case letters, digits and dashes, beginning with a letter, not ending with a dash",
    OBJECT_NAME: "lower-case letters, digits, dashes and dots, beginning and ending with a letter or digit",
    SECRET_KEY: "letters, digits, dashes, dots and underscores",
    VARIABLE: "letters, digits, underscores, dashes and dots, not beginning with a digit",
    QUANTITY: "a quantity such as 2, 500m or 16Gi",
    SHARE: "a number such as 1, or 25%",
    NO_SPACE: "it without spaces",
    QUALIFIED_NAME: "a name as Kubernetes has them, such as pool or example.com/pool",
    LABEL_VALUE: "letters, digits, dashes, dots and underscores, beginning and ending with a letter or digit",
    ABSOLUTE_PATH: "an absolute path without spaces, beginning with /",
    HUB_REPOSITORY: "OWNER/NAME, such as meta-llama/Llama-3.3-70B-Instruct",
    HTTP_URL: "a URL that begins with http:// or https://",
    NATS_URL: "a URL that begins with nats:// or tls://",
    REASON: "a word in CamelCase",
}
"""What to write to match each pattern. It completes a sentence that begins with "Write"."""
