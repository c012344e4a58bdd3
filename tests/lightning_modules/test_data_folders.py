"""Image folders as users have them: other endings and files, levels, splits without labels, CSV files, odd images."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_files import random_image, write_image_folder
from PIL import Image

from lightning_modules.data import ImageDataModule

COUNTS = {"cat": 12, "dog": 12}
SMALL: dict[str, Any] = {"influence_size": 4, "val_size": 4}


def fails(message: str, path: Path, **arguments: Any) -> None:
    """The data are refused before training."""
    with pytest.raises(ValueError, match=message):
        ImageDataModule(str(path), **{**SMALL, **arguments}).setup("fit")


def decoded(file: Path, root: Path) -> np.ndarray:
    """Write two classes of which one holds the file, and return what a data module makes of it, `[C, H, W]` in 0..255.

    The other images have its size, so that none is scaled.
    """
    with Image.open(file) as image:
        size = image.size if image.getexif().get(0x112, 1) < 5 else image.size[::-1]
        mode = "L" if image.mode in ("L", "LA", "1") else "RGB"
    write_image_folder(root, {"other": 12, "this": 0}, mode=mode, size=size)
    for number in range(12):
        shutil.copy(file, root / "this" / f"{number}{file.suffix}")
    module = ImageDataModule(str(root), **SMALL)
    with pytest.warns(UserWarning, match="are also in the training split"):
        images, labels = module.influence_set()
    pixels: np.ndarray = (images[labels == 1][0] * 255).round().numpy()
    return pixels


def test_photos_are_turned_upright(tmp_path: Path) -> None:
    pixels = np.zeros((4, 6, 3), dtype=np.uint8)
    pixels[:, 0] = 255  # the left column
    exif = Image.Exif()
    exif[0x112] = 6  # the camera was turned: the left column is the top row
    Image.fromarray(pixels).save(tmp_path / "photo.png", exif=exif)
    found = decoded(tmp_path / "photo.png", tmp_path / "data")
    assert found.shape == (3, 6, 4)
    assert (found[:, 0] == 255).all()
    assert (found[:, 1:] == 0).all()


def test_colors_hidden_by_transparency_become_white(tmp_path: Path) -> None:
    clear, half = (200, 0, 0, 0), (0, 0, 0, 127)
    colors = np.array([[clear, half]], dtype=np.uint8).repeat(4, 0).repeat(2, 1)
    Image.fromarray(colors).save(tmp_path / "rgba.png")
    Image.fromarray(colors).convert("LA").save(tmp_path / "la.png")
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([200, 0, 0])
    palette.save(tmp_path / "palette.gif", transparency=0)
    for name in ("rgba", "la"):
        found = decoded(tmp_path / f"{name}.png", tmp_path / name)
        assert len(found) == (3 if name == "rgba" else 1)
        assert (found[:, :, :2] == 255).all()
        assert (abs(found[:, :, 2:] - 128) <= 1).all()
    assert (decoded(tmp_path / "palette.gif", tmp_path / "palette") == 255).all()


@pytest.mark.filterwarnings("ignore:images of .* have several frames")
def test_cmyk_and_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), (255, 0, 0)).convert("CMYK").save(tmp_path / "print.jpg", quality=100)
    found = decoded(tmp_path / "print.jpg", tmp_path / "cmyk").mean((1, 2))
    assert found == pytest.approx([255, 0, 0], abs=6)
    frames = [Image.new("RGB", (8, 8), color) for color in ((0, 0, 255), (0, 255, 0))]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert decoded(tmp_path / "moving.gif", tmp_path / "gif").mean((1, 2)) == pytest.approx([0, 0, 255])


@pytest.mark.parametrize("ending", [".jfif", ".jpe", ".JPG", ".gif", ".jp2", ".tif", ".webp"])
def test_every_common_ending_is_read(ending: str, tmp_path: Path) -> None:
    write_image_folder(tmp_path, COUNTS)
    rng = np.random.default_rng(1)
    for number in range(40):
        random_image(rng).save(tmp_path / "dog" / f"more{number}{ending}")
    splits = ImageDataModule(str(tmp_path), test_size=4, **SMALL).splits
    assert len(splits.train) == 24 + 40 - 12


def test_other_files_are_counted_and_named_once(tmp_path: Path) -> None:
    write_image_folder(tmp_path, COUNTS)
    (tmp_path / ".ipynb_checkpoints").mkdir()
    (tmp_path / "cat" / ".ipynb_checkpoints").mkdir()
    shutil.copy(tmp_path / "cat" / "0.png", tmp_path / "cat" / ".ipynb_checkpoints" / "0.png")
    for name in ("cat/.0.png", "cat/Thumbs.db", "dog/a.heic", "dog/b.heic", "README"):
        (tmp_path / name).write_bytes(b"no image")
    module = ImageDataModule(str(tmp_path), test_size=4, **SMALL)
    with pytest.warns(UserWarning, match="not read in") as said:
        module.setup("fit")
    assert len(module.splits.train) == 24 - 12
    assert len(said) == 1
    for part in ("1 .db (cat/Thumbs.db)", "2 .heic (dog/a.heic, dog/b.heic)", "1 .png (cat/.0.png)", "(README)"):
        assert part in str(said[0].message)
    assert module.class_names == ("cat", "dog")


def test_class_folders_without_an_image(tmp_path: Path) -> None:
    write_image_folder(tmp_path, {**COUNTS, "eel": 0})
    fails("class folder .*eel holds no image that can be read, it is empty", tmp_path)
    (tmp_path / "eel" / "x.heic").write_bytes(b"")
    fails(r"class folder .*eel holds no image .* but 1 .heic \(x.heic\)", tmp_path)


def test_splits_with_other_classes(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "train", COUNTS)
    write_image_folder(tmp_path / "test", {"Cat": 3, "dog": 3}, seed=1)
    fails("the test split .* has the class folders Cat, which the training split lacks; it has cat, dog", tmp_path)


def test_two_folders_for_one_split(tmp_path: Path) -> None:
    for seed, name in enumerate(("train", "val", "valid")):
        write_image_folder(tmp_path / name, COUNTS, seed=seed)
    fails("val and valid in .* both name the validation split", tmp_path)


def test_a_test_folder_without_labels_is_predicted(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "train", COUNTS)
    write_image_folder(tmp_path, {"test": 5}, seed=1)
    module = ImageDataModule(str(tmp_path), **SMALL)
    assert len(module.splits.train) == 16  # no fifth of them is the test split
    assert len(next(iter(module.predict_dataloader()))[0]) == 5
    assert list(module.test_images.sources()) == [str(tmp_path / "test" / f"{number}.png") for number in range(5)]
    with pytest.raises(ValueError, match="test images have no labels"):
        module.test_dataloader()


def test_only_the_test_folder_may_lack_labels(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "train", COUNTS)
    write_image_folder(tmp_path, {"val": 5}, seed=1)
    fails("val holds 5 images without class folders: sort images into .*CLASS", tmp_path)
    shutil.rmtree(tmp_path / "val")
    (tmp_path / "test").mkdir()
    fails("test holds no image that can be read", tmp_path)
    fails("cat holds 12 images without class folders", tmp_path / "train" / "cat")


def test_sites_and_a_level_too_high_are_told_from_classes(tmp_path: Path) -> None:
    for seed, site in enumerate(("siteA", "siteB")):
        write_image_folder(tmp_path / "sites" / site, COUNTS, seed=seed)
    message = "siteA, siteB in .* look like sites or splits .* each holds the folders cat, dog: give .*siteA"
    fails(message, tmp_path / "sites")
    write_image_folder(tmp_path / "above" / "photos" / "train", COUNTS)
    write_image_folder(tmp_path / "above" / "photos" / "test", COUNTS, seed=1)
    fails("photos in .* look like .* the folders test, train: give .*photos", tmp_path / "above")
    write_image_folder(tmp_path / "one", {"cat": 20})
    fails("has one class only, cat", tmp_path / "one")


def test_images_may_lie_deeper_in_a_class_folder(tmp_path: Path) -> None:
    for name in COUNTS:
        write_image_folder(tmp_path / name, {f"{name}1": 10, f"{name}2": 10}, seed=len(name) + ord(name[0]))
    assert ImageDataModule(str(tmp_path), **SMALL).class_names == ("cat", "dog")


def rows(root: Path, of: str, name: str = "file_name") -> str:
    """The lines of a CSV file with the images in `root/of`, each labelled by the parity of its number."""
    files = sorted((root / of).iterdir(), key=lambda file: int(file.stem))
    lines = [f"{file.relative_to(root)},{('even', 'odd')[int(file.stem) % 2]}\n" for file in files]
    return f"{name},label\n{''.join(lines)}"


def test_csv_files_list_images_and_labels(tmp_path: Path) -> None:
    write_image_folder(tmp_path, {"images": 40, "deployed": 6})
    (tmp_path / "data.csv").write_text(rows(tmp_path, "images", "path"))
    (tmp_path / "deployed.csv").write_text(rows(tmp_path, "deployed", "path").replace(",", ";"))
    module = ImageDataModule(str(tmp_path / "data.csv"), influence_path=str(tmp_path / "deployed.csv"), val_size=4)
    assert module.class_names == ("even", "odd")
    assert module.influence_set()[1].tolist() == [0, 1] * 3
    for source, label in zip(module.splits.train.sources(), module.splits.train.labels.tolist(), strict=True):
        assert int(Path(source).stem) % 2 == label
    (tmp_path / "metadata.csv").write_text(rows(tmp_path, "images"))
    assert ImageDataModule(str(tmp_path), **SMALL).class_names == ("even", "odd")


def test_metadata_beside_the_images_of_a_split(tmp_path: Path) -> None:
    write_image_folder(tmp_path, {"train": 40, "test": 6})
    (tmp_path / "train" / "metadata.csv").write_text(rows(tmp_path, "train").replace("train/", ""))
    module = ImageDataModule(str(tmp_path), **SMALL)
    assert len(module.splits.train) == 32
    assert module.class_names == ("even", "odd")
    assert torch.equal(module.test_images.labels, torch.full((6,), -1))


def test_csv_files_that_do_not_fit(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("name,label\nnothing.png,cat\n")
    fails("no column of .*data.csv holds image files .* first row: .*nothing.png", file)
    write_image_folder(tmp_path, {"images": 4})
    file.write_text("name,label\nimages/0.png,cat\nimages/9.png,dog\n")
    fails("1 of 2 images in .*data.csv do not exist: .*images/9.png", file)
    file.write_text("name,label\nimages/0.png,cat\nimages/1.png,\n")
    fails("1 labels of the train split of .* are empty", file)


def listed(folder: Path, text: str | bytes, name: str = "data.csv") -> Path:
    """A CSV file beside 24 images."""
    write_image_folder(folder, {"images": 24})
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder / name


LINES = [f"images/{number}.png,{'ab'[number % 2]}" for number in range(24)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\nimages/0.png,é\n".encode("latin-1"), "is not in UTF-8 .*save it in that encoding"),
        ("path,label\nimages/0.png,cat, black\n", "line 2 of .* more fields than the header: put a field"),
        ("path,label,label\nimages/0.png,a,b\n", "two columns of .* have one name, found path, label, label"),
    ],
)
def test_csv_files_that_cannot_be_read_rightly(text: str | bytes, message: str, tmp_path: Path) -> None:
    fails(message, listed(tmp_path, text))


def test_csv_files_with_spaces_and_upper_case(tmp_path: Path) -> None:
    file = listed(tmp_path, "\n".join(["path, label", *(line.replace(",", " , ") for line in LINES)]), "DATA.CSV")
    assert ImageDataModule(str(file), **SMALL, test_size=4).class_names == ("a", "b")


def test_a_column_of_splits_divides_the_list(tmp_path: Path) -> None:
    splits = ["train" if number < 16 else "Test" for number in range(24)]
    file = listed(tmp_path, "\n".join(["path,label,split", *map(",".join, zip(LINES, splits, strict=True))]))
    module = ImageDataModule(str(file), **SMALL)
    assert {int(Path(source).stem) for source in module.test_images.sources()} == set(range(16, 24))
    assert len(module.splits.train) == 8


def test_images_that_are_listed_twice_are_named(tmp_path: Path) -> None:
    file = listed(tmp_path, "\n".join(["path,label", *LINES, "images/../images/3.png,a"]))
    listed_twice = pytest.warns(UserWarning, match="lists 1 images more than once .*3.png.* or have two labels")
    with listed_twice, pytest.warns(UserWarning, match="1 of the 4 images of the influence split are also in"):
        ImageDataModule(str(file), **SMALL, test_size=4).setup("fit")


def test_a_link_to_a_folder_above_is_followed_no_further(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "data", COUNTS)
    write_image_folder(tmp_path / "other", {"more": 3}, seed=1)
    for name, target in (("loop", "data/cat"), ("up", "data"), ("more", "other/more")):
        (tmp_path / "data" / "cat" / name).symlink_to(tmp_path / target, target_is_directory=True)
    module = ImageDataModule(str(tmp_path / "data"), **SMALL, test_size=4)
    splits = module.splits
    assert sum(map(len, (splits.train, splits.influence, splits.validation, module.test_images))) == 27


def test_class_folders_whose_names_hardly_differ_are_named(tmp_path: Path) -> None:
    write_image_folder(tmp_path, {"cat": 12, "Cat ": 12})
    with pytest.warns(UserWarning, match="'Cat ' and 'cat' in .* are two classes"):
        ImageDataModule(str(tmp_path), **SMALL, test_size=4).setup("fit")


def test_a_name_that_is_no_text_and_a_path_that_is_none(tmp_path: Path) -> None:
    write_image_folder(tmp_path, COUNTS)
    (tmp_path / "cat" / os.fsdecode(b"\xff.png")).write_bytes(b"")
    fails(r"name of a file in .*cat is no text in UTF-8, '.udcff.png'", tmp_path)
    with pytest.raises(ValueError, match="path is empty: give a folder"):
        ImageDataModule(" ", **SMALL).setup("fit")


def every_split(module: ImageDataModule) -> None:
    """Decode all images of the folder, in whatever split they are."""
    module.setup("fit")
    module.test_dataloader()


def test_images_of_several_frames_are_named(tmp_path: Path) -> None:
    write_image_folder(tmp_path, COUNTS)
    frames = [random_image(np.random.default_rng(seed)) for seed in range(2)]
    frames[0].save(tmp_path / "cat" / "0.tiff", save_all=True, append_images=frames[1:])
    module = ImageDataModule(str(tmp_path), **SMALL, test_size=4)
    with pytest.warns(UserWarning, match="images of .* have several frames or pages: the first one of each"):
        every_split(module)


def test_home_and_variables_in_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image_folder(tmp_path / "data", COUNTS)
    write_image_folder(tmp_path / "deployed", {"cat": 2, "dog": 2}, seed=1)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DEPLOYED", str(tmp_path / "deployed"))
    assert len(ImageDataModule("~/data", influence_path="$DEPLOYED", val_size=4).influence_set()[0]) == 4
