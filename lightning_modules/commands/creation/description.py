"""What a folder of images holds, in words."""

from statistics import median

from lightning_modules.commands.creation.sizes import imbalance, side_in_pixels
from lightning_modules.data.folder_facts import FolderFacts

UNEQUAL = 3
"""Ratio of the largest class to the smallest from which classes are called unequal."""


def describe(facts: FolderFacts) -> list[str]:
    """Return lines that say what the folder holds, for people."""
    counts, opened = facts.counts, len(facts.probe.sizes)
    kind = "gray" if facts.channels == 1 else "RGB"
    shown = ", ".join(f"{_printable(name)} {count:,}" for name, count in list(counts.items())[:50])
    lines = [
        f"{sum(counts.values()):,} images in {len(counts)} classes, {kind}, {_range(facts.probe.sizes)} "
        f"pixels ({opened} were opened).",
        f"Images a class: {shown}{', ...' if len(counts) > 50 else ''}.",
    ]
    if imbalance(counts) >= UNEQUAL:
        rare, common = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
        lines.append(
            f"Unequal classes: {_printable(common)} has {imbalance(counts):.0f} times the images of "
            f"{_printable(rare)}. The accuracy counts images, so rare classes weigh little in it: see model.samples."
        )
    for split in ("validation", "test"):
        found = facts.splits.get(split)
        unlabelled = "" if facts.test_labelled or split != "test" else ", without labels"
        lines.append(f"The {split} split: " + (f"{found:,} images of its folder{unlabelled}." if found else "cut off."))
    if facts.influence and "test" not in facts.splits:
        lines.append(
            "The test images are then like the training images: for the accuracy in deployment, sort the folder into "
            "train and test, with labeled images from deployment in test that are not in the influence set."
        )
    return [*lines, *_describe_influence(facts)]


def _describe_influence(facts: FolderFacts) -> list[str]:
    """Return lines that say whether the influence folder fits."""
    own = facts.influence
    if own is None:
        return [
            "The influence set: cut off, so that it looks like the training images. Without images that look like "
            "deployment there is little to learn from."
        ]
    missing = [name for name, count in own.counts.items() if count == 0]
    lines = [f"The influence set: {sum(own.counts.values()):,} images of {own.path}, {_range(own.probe.sizes)} pixels."]
    few = {name: count for name, count in own.counts.items() if 0 < count < 5}
    if missing:
        lines.append(
            f"It does not fit as a whole: it has no image of {', '.join(map(_printable, missing[:20]))}"
            f"{', ...' if len(missing) > 20 else ''}; the policy follows the loss on the other classes."
        )
    else:
        lines.append("It fits: it has images of every class.")
    if few:
        lines.append(
            f"Fewer than five of {', '.join(f'{_printable(name)} ({n})' for name, n in list(few.items())[:20])}."
        )
    if own.probe.channels != facts.channels:
        theirs, ours = ("gray", "RGB") if own.probe.channels == 1 else ("RGB", "gray")
        lines.append(f"Its images are {theirs} and become {ours}, as the training images are.")
    small = int(median(min(size) for size in own.probe.sizes))
    if small < side_in_pixels(facts):
        lines.append(f"Its images are smaller, {small} pixels, and are enlarged: blur is then a part of the shift.")
    return lines


def _range(sizes: tuple[tuple[int, int], ...]) -> str:
    """Return the size of images, or the smallest and the largest."""
    first, last = min(sizes, key=lambda size: size[0] * size[1]), max(sizes, key=lambda size: size[0] * size[1])
    return f"{first[0]} x {first[1]}" + (f" to {last[0]} x {last[1]}" if first != last else "")


def _printable(name: str) -> str:
    """Return the name of a class as it can stand in a comment."""
    return name if name.isprintable() else repr(name)
