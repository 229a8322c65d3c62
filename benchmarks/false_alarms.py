"""How often the exercise checks are wrong: alarms at right answers, and wrong answers missed.

    python benchmarks/false_alarms.py --right 1000 --wrong 100 [CHECK ...]

Calls every check, or those named, on the book's own function, and on every wrong answer of the gallery in
tests/gallery. The result is written to benchmarks/results/false_alarms.json; what that holds of other checks
stays.
"""

import argparse
import json
import sys
import time
from pathlib import Path

from vaebook import checks

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "false_alarms.json"
sys.path.append(str(HERE.parent / "tests"))
import gallery  # noqa: E402


def right(name: str, calls: int) -> dict:
    """Alarms at the book's own function, and seconds a call."""
    check, answer = getattr(checks, name), gallery.RIGHT[name][0]
    check(answer)  # what PyTorch imports at first use is not the check's time
    alarms, start = [], time.perf_counter()
    for _ in range(calls):
        try:
            check(answer)
        except checks.Mistake as mistake:
            alarms.append(str(mistake))
    return {"calls": calls, "alarms": alarms, "seconds_per_call": (time.perf_counter() - start) / calls}


def wrong(name: str, calls: int) -> dict:
    """How many calls caught each wrong answer, and how many named it as the gallery says."""
    answers = []
    for answer, diagnosis in gallery.WRONG[name]:
        caught = named = 0
        for _ in range(calls):
            try:
                getattr(checks, name)(answer)
            except checks.Mistake as mistake:
                caught += 1
                named += diagnosis in str(mistake)
        answers.append({"diagnosis": diagnosis, "caught": caught, "named": named})
    return {"calls": calls, "answers": answers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help="for instance train_step; all if none")
    parser.add_argument("--right", type=int, default=1000, help="calls of each check on a right answer")
    parser.add_argument("--wrong", type=int, default=100, help="calls on each wrong answer")
    options = parser.parse_args()
    if unknown := set(options.checks) - set(gallery.RIGHT):
        parser.error(f"no such check: {', '.join(sorted(unknown))}. There are {', '.join(gallery.RIGHT)}.")
    kept = json.loads(RESULTS.read_text()) if options.checks and RESULTS.exists() else {}
    results = {name: kept[name] for name in gallery.RIGHT if name in kept}
    for name in options.checks or gallery.RIGHT:
        results[name] = {"right": right(name, options.right), "wrong": wrong(name, options.wrong)}
        ours, answers = results[name]["right"], results[name]["wrong"]["answers"]
        caught, named = (min(answer[key] for answer in answers) for key in ("caught", "named"))
        print(
            f"{name}: {len(ours['alarms'])} alarms in {options.right} calls, "
            f"{ours['seconds_per_call']:.4f} s each; {len(answers)} wrong answers, "
            f"the least caught {caught} and the least named {named} of {options.wrong} times",
            flush=True,
        )
    RESULTS.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
