"""Reads the reports of the WebSocket cases: how many there are, and that each is as it must be."""

import json
import sys

# The RFC leaves these open, and the suite only tells what was seen: 7.1.6 a large message before
# a close, 7.13.* close codes outside every range.
INFORMATIONAL = {"7.1.6", "7.13.1", "7.13.2"}

failed = False
arguments = sys.argv[1:]
for path, wanted in zip(arguments[::2], arguments[1::2], strict=True):
    with open(path, encoding="utf-8") as file:
        (cases,) = json.load(file).values()
    wrong = {
        name: (case["behavior"], case["behaviorClose"])
        for name, case in cases.items()
        if not (
            case["behavior"] in ("OK", "NON-STRICT" if name.startswith("6.4.") else "OK")
            or (case["behavior"] == "INFORMATIONAL" and name in INFORMATIONAL)
        )
        or case["behaviorClose"] not in ("OK", "INFORMATIONAL")
    }
    print(f"websocket: {len(cases)} cases, {len(cases) - len(wrong)} as they must be ({path})")
    if len(cases) != int(wanted) or wrong:
        print(f"websocket: wanted {wanted} cases; wrong: {wrong}", file=sys.stderr)
        failed = True
sys.exit(1 if failed else 0)
