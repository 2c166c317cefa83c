import os
import struct
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from iem_xp import decoding
from iem_xp.decoding import MAX_PIXELS, pixels_limited
from iem_xp.images import (
    SUFFIXES,
    ImageError,
    encode_mask,
    encode_png,
    fit_image,
    fit_truth,
    read_image,
    restore_mask,
    write_atomically,
)

SHARED = Path(__file__).parents[2] / "shared"
RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)
GRAY = RGB[..., 0]
ORIENTATION = 0x0112


def encode(image, format, **options):
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def oriented(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def gray(image):
    return np.repeat(image[..., None], 3, axis=2)


def disc(height, width, radius):
    rows, columns = np.ogrid[:height, :width]
    return np.hypot((rows + 0.5) / height - 0.5, (columns + 0.5) / width - 0.5) < radius


# Reading


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "PPM", "TGA"])
def test_a_lossless_format_gives_its_pixels(format):
    photograph = read_image(encode(RGB, format))
    assert np.array_equal(photograph.pixels, RGB)
    assert photograph.pixels.dtype == np.uint8
    assert photograph.pixels.flags.c_contiguous
    assert photograph.notes == ()


@pytest.mark.parametrize(("format", "options"), [("JPEG", {"quality": 95}), ("WEBP", {"lossless": True})])
def test_a_compressed_format_gives_nearly_its_pixels(format, options):
    smooth = np.tile(np.linspace(0, 255, 32, dtype=np.uint8)[:, None, None], (1, 32, 3))
    photograph = read_image(encode(smooth, format, **options))
    assert np.abs(photograph.pixels.astype(int) - smooth).max() <= 4
    assert photograph.notes == ()


def test_a_path_a_string_and_bytes_read_alike(tmp_path):
    path = tmp_path / "two words é.png"
    path.write_bytes(encode(RGB, "PNG"))
    for source in (path, str(path), path.read_bytes()):
        assert np.array_equal(read_image(source).pixels, RGB)


def test_the_contents_decide_not_the_suffix(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encode(RGB, "PNG"))
    assert np.array_equal(read_image(path).pixels, RGB)


@pytest.mark.parametrize("format", ["PNG", "TIFF", "BMP", "GIF", "PPM"])
@pytest.mark.parametrize("mode", ["1", "L"])
def test_gray_becomes_three_equal_channels(mode, format):
    image = Image.fromarray(GRAY).convert(mode)
    photograph = read_image(encode(image, format))
    assert np.array_equal(photograph.pixels, gray(np.asarray(image.convert("L"))))
    assert photograph.notes == ()


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_ignored_and_noted(format):
    alpha = np.full((6, 9, 1), 255, np.uint8)
    alpha[0] = 40
    options = {"lossless": True} if format == "WEBP" else {}
    photograph = read_image(encode(np.concatenate([RGB, alpha], 2), format, **options))
    assert np.array_equal(photograph.pixels, RGB)
    assert photograph.notes == ("alpha ignored",)


def test_the_alpha_of_gray_is_ignored_and_noted():
    photograph = read_image(encode(Image.fromarray(RGB[..., :2].copy(), "LA"), "PNG"))
    assert np.array_equal(photograph.pixels, gray(GRAY))
    assert photograph.notes == ("alpha ignored",)


def test_an_opaque_alpha_leaves_nothing_to_note():
    opaque = np.concatenate([RGB, np.full((6, 9, 1), 255, np.uint8)], 2)
    assert read_image(encode(opaque, "PNG")).notes == ()


@pytest.mark.parametrize("format", ["PNG", "GIF", "TIFF", "BMP"])
def test_a_palette_is_looked_up(format):
    image = Image.fromarray(RGB).quantize(8)
    photograph = read_image(encode(image, format))
    assert np.array_equal(photograph.pixels, np.asarray(image.convert("RGB")))
    assert photograph.notes == ()


@pytest.mark.parametrize("transparency", [3, bytes([0, 100] + [255] * 6)])
def test_the_transparency_of_a_palette_is_ignored_and_noted(transparency):
    image = Image.fromarray(RGB).quantize(8)
    photograph = read_image(encode(image, "PNG", transparency=transparency))
    assert np.array_equal(photograph.pixels, np.asarray(image.convert("RGB")))
    assert photograph.notes == ("alpha ignored",)


def test_a_transparent_colour_is_ignored_and_noted():
    photograph = read_image(encode(RGB, "PNG", transparency=tuple(int(c) for c in RGB[2, 3])))
    assert np.array_equal(photograph.pixels, RGB)
    assert photograph.notes == ("alpha ignored",)


@pytest.mark.parametrize("format", ["TIFF", "JPEG"])
def test_cmyk_becomes_rgb(format):
    orange = Image.new("CMYK", (16, 16), (0, 128, 255, 0))
    photograph = read_image(encode(orange, format))
    assert np.abs(photograph.pixels.astype(int) - (255, 127, 0)).max() <= 3
    assert photograph.notes == ()


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_16_bit_gray_is_stretched_not_clipped(format):
    values = np.linspace(1000, 1510, 54).astype(np.uint16).reshape(6, 9)
    photograph = read_image(encode(values, format))
    assert np.array_equal(photograph.pixels, gray(np.rint((values - 1000.0) / 2).astype(np.uint8)))
    assert photograph.notes == ("uint16 values stretched from their darkest to their brightest",)


@pytest.mark.parametrize(("colour_type", "channels"), [(2, 3), (6, 4), (4, 2)])
def test_16_bit_colours_are_read_by_their_upper_bits_and_noted(colour_type, channels):
    values = np.random.default_rng(0).integers(0, 65536, (6, 9, channels)).astype(">u2")
    values[..., -1] = 65535

    def chunk(kind, content):
        length, checksum = len(content).to_bytes(4), zlib.crc32(kind + content).to_bytes(4)
        return length + kind + content + checksum

    header = struct.pack(">IIBBBBB", 9, 6, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    photograph = read_image(b"\x89PNG\r\n\x1a\n" + chunks)
    colours = values[..., :3] if channels > 2 else values[..., [0, 0, 0]]
    np.testing.assert_array_equal(photograph.pixels, colours >> 8)
    assert photograph.notes == ("16-bit colours read by their upper 8 bits",)


def test_a_16_bit_pgm_is_stretched():
    photograph = read_image(b"P5 3 1 65535\n" + np.array([1000, 1255, 1510], ">u2").tobytes())
    assert photograph.pixels[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_32_bit_values_are_stretched(dtype):
    values = np.array([[-70000, 0, 185000]], dtype)
    photograph = read_image(encode(values, "TIFF"))
    assert photograph.pixels[0, :, 0].tolist() == [0, 70, 255]
    assert photograph.notes == (f"{np.dtype(dtype)} values stretched from their darkest to their brightest",)


def test_the_widest_floats_are_stretched():
    most = np.finfo(np.float32).max
    values = np.array([[-most, 0, most]], np.float32)
    assert read_image(encode(values, "TIFF")).pixels[0, :, 0].tolist() == [0, 128, 255]


def test_a_constant_deep_image_is_black():
    assert not read_image(encode(np.full((4, 4), 700, np.uint16), "PNG")).pixels.any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(value):
    with pytest.raises(ImageError, match="not finite"):
        read_image(encode(np.array([[0, value]], np.float32), "TIFF"))


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_of_several_frames_is_read_and_noted(format):
    frames = [Image.fromarray(np.full((6, 9, 3), value, np.uint8)) for value in (10, 100, 200)]
    photograph = read_image(encode(frames[0], format, save_all=True, append_images=frames[1:]))
    assert photograph.pixels.shape == (6, 9, 3)
    assert np.abs(photograph.pixels.astype(int) - 10).max() <= 1
    assert photograph.notes == ("first of several frames",)


UPRIGHT = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: np.swapaxes(stored, 0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(np.swapaxes(stored, 0, 1), 2),
    8: np.rot90,
}


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_the_exif_orientation_is_applied_once(orientation, format):
    options = {"lossless": True} if format == "WEBP" else {}
    stored = read_image(encode(RGB, format, **options)).pixels
    photograph = read_image(encode(RGB, format, exif=oriented(orientation), **options))
    assert np.array_equal(photograph.pixels, UPRIGHT[orientation](stored))
    assert photograph.notes == ()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_the_exif_orientation_is_applied_to_every_mode(orientation, mode):
    image = Image.fromarray(GRAY.astype(np.uint16)) if mode == "I;16" else Image.fromarray(RGB).convert(mode)
    stored = read_image(encode(image, "PNG")).pixels
    photograph = read_image(encode(image, "PNG", exif=oriented(orientation)))
    assert np.array_equal(photograph.pixels, UPRIGHT[orientation](stored))


def test_an_orientation_stored_after_the_pixels_is_applied():
    data = encode(RGB, "PNG", exif=oriented(6))
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    last = data.index(b"IEND") - 4
    late = data[:start] + data[end:last] + data[start:end] + data[last:]
    assert np.array_equal(read_image(late).pixels, UPRIGHT[6](RGB))


def test_a_phone_s_jpeg_of_two_pictures_gives_the_first():
    second = Image.fromarray(RGB[::-1])
    photograph = read_image(encode(RGB, "MPO", save_all=True, append_images=[second]))
    assert np.array_equal(photograph.pixels, read_image(encode(RGB, "JPEG")).pixels)
    assert photograph.notes == ("first of several frames",)


@pytest.mark.parametrize("orientation", [0, 9])
def test_an_orientation_that_does_not_exist_is_passed_over(orientation):
    assert np.array_equal(read_image(encode(RGB, "PNG", exif=oriented(orientation))).pixels, RGB)


def test_orientation_agrees_with_pillow():
    for orientation in UPRIGHT:
        data = encode(RGB, "PNG", exif=oriented(orientation))
        expected = np.asarray(ImageOps.exif_transpose(Image.open(BytesIO(data))))
        assert np.array_equal(read_image(data).pixels, expected)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "empty"),
        (b"a letter, not a photograph", "not an image"),
        (b"\0\0\0\x18ftypheic" + bytes(99), "pip install pillow-heif"),
        (encode(RGB, "PNG")[:60], "cannot be decoded: .*truncated"),
        (encode(RGB, "JPEG")[:-20], "cannot be decoded: .*truncated"),
        (encode(RGB, "JPEG")[:30], "cannot be decoded: "),
        (encode(RGB, "TIFF")[:-50], "cannot be decoded: "),
        (encode(RGB, "BMP")[:-50], "cannot be decoded: .*truncated"),
        (b"P5 20000 20000 255\n", "too many pixels; raise --max-pixels, or shrink it"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_cause(tmp_path, data, cause):
    with pytest.raises(ImageError, match=cause):
        read_image(data)
    path = tmp_path / "broken.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=rf"broken\.jpg: .*{cause}"):
        read_image(path)


def test_for_want_of_memory_the_file_is_not_blamed(monkeypatch):
    def fail(image, data):
        raise MemoryError

    monkeypatch.setattr(decoding, "_read", fail)
    with pytest.raises(ImageError, match=r"^too little memory to decode it; fewer --workers"):
        read_image(encode(RGB, "PNG"))


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path):
    with pytest.raises(ImageError, match=r"gone\.jpg: No such file"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(ImageError, match=f"{tmp_path.name}: "):
        read_image(tmp_path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="every file is open to root")
def test_a_file_without_permission_is_refused_by_name(tmp_path):
    path = tmp_path / "closed.png"
    path.write_bytes(encode(RGB, "PNG"))
    path.chmod(0)
    with pytest.raises(ImageError, match=r"closed\.png: Permission denied"):
        read_image(path)


def test_a_very_large_image_is_read_with_a_warning_and_refused_where_warnings_are_errors(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    data = encode(RGB, "PNG")
    with pytest.raises(ImageError, match="too many pixels"):
        read_image(data)
    with pytest.warns(Image.DecompressionBombWarning):
        assert np.array_equal(read_image(data).pixels, RGB)


def test_the_limit_of_pixels_is_set_for_a_while_and_nothing_is_warned_of():
    before, data = Image.MAX_IMAGE_PIXELS, encode(RGB, "PNG")
    with pixels_limited(54):
        assert np.array_equal(read_image(data).pixels, RGB)
    with pixels_limited(52), pytest.raises(ImageError, match="too many pixels; raise --max-pixels"):
        read_image(data)
    assert before == Image.MAX_IMAGE_PIXELS
    assert 2 * before == MAX_PIXELS


def test_a_file_larger_than_any_image_is_not_read(tmp_path):
    path = tmp_path / "huge.jpg"
    path.touch()
    os.truncate(path, 100 << 30)
    with pytest.raises(ImageError, match=r"huge\.jpg: has 107,374,182,400 bytes, more than"):
        read_image(path)


def test_a_program_that_draws_is_not_run():
    with pytest.raises(ImageError, match="PostScript"):
        read_image(encode(RGB, "EPS"))


def chained(pages):
    """A TIFF of one image, and `pages` directories without any."""
    data = bytearray(encode(RGB, "TIFF"))
    start = struct.unpack_from("<I", data, 4)[0]
    link = start + 2 + 12 * struct.unpack_from("<H", data, start)[0]
    for _ in range(pages):
        struct.pack_into("<I", data, link, len(data))
        link = len(data) + 2
        data += bytes(6)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        encode(GRAY, "GIF")[:-1] + (b"," + bytes(9) + b"\2\0") * 1000,
        chained(3),
        encode(RGB, "TIFF", save_all=True, append_images=[Image.fromarray(RGB)])[:-60],
    ],
    ids=["GIF", "TIFF", "cut TIFF"],
)
def test_frames_after_the_first_are_not_walked_through(data):
    photograph = read_image(data)
    assert photograph.pixels.shape == RGB.shape
    assert photograph.notes == ("first of several frames",)


def test_a_jpeg_of_scans_without_end_is_refused_and_not_decoded():
    data = encode(RGB, "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    many = data[:-2] + data[start:-2] * 600 + data[-2:]
    with pytest.raises(ImageError, match="more than 500 scans"):
        read_image(many)
    # What follows the picture, as the film of a phone's, is not of it.
    assert np.array_equal(read_image(data + data[start:-2] * 600).pixels, read_image(data).pixels)


@pytest.mark.parametrize("marker", [b"\xff\x01", b"\xff\x10", b"\xff\xd3", b"\xff\xd8"])
def test_no_scans_hide_behind_a_marker_that_has_no_length(marker):
    data = encode(RGB, "JPEG", progressive=True)
    start = data.rindex(b"\xff\xda")
    scan = data[start : start + 10]
    with pytest.raises(ImageError, match="more than 500 scans"):
        read_image(data[:-2] + marker + scan * 600 + data[-2:])


def test_an_image_without_pixels_is_refused():
    with pytest.raises(ImageError, match=r"has no pixels|cannot be decoded|not an image"):
        read_image(b"GIF89a" + bytes(7) + b"," + bytes(9) + b"\2\0;")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK", "LA", "L", "I;16", "F"])
def test_an_image_is_converted_in_strips_that_are_not_seen(mode, monkeypatch):
    source = Image.fromarray(RGB)
    values = np.asarray(source.convert("F"))
    image = (
        Image.fromarray(values)
        if mode == "F"
        else Image.fromarray(values.astype(np.uint16))
        if mode == "I;16"
        else source.convert(mode)
    )
    data = encode(image, "TIFF")
    whole = read_image(data)
    monkeypatch.setattr(decoding, "_STRIP", 20)  # two rows
    strips = read_image(data)
    assert np.array_equal(strips.pixels, whole.pixels)
    assert strips.notes == whole.notes


def test_suffixes_are_lower_case_and_known_to_pillow():
    heic = {".heic", ".heif"}  # of the extra package that the error message names
    assert {".jpg", ".jpeg", ".png", ".tif", ".webp", ".bmp", ".gif", ".pgm"} <= SUFFIXES
    assert SUFFIXES - heic <= set(Image.registered_extensions())


def test_importing_the_library_does_not_load_image_decoders():
    code = "import sys, iem_xp; sys.exit(bool({'PIL', 'imageio'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# The working size

sides = st.integers(1, 400)


@given(sides, sides, st.integers(1, 64))
def test_the_whole_image_keeps_its_aspect_ratio(height, width, size):
    fitted = fit_image(np.zeros((height, width), np.uint8), size)
    short, long = sorted(fitted.shape)
    true = max(height, width) / min(height, width)
    assert (fitted.shape[0] > fitted.shape[1]) <= (height > width)
    assert 1 <= short <= size
    assert long <= 8 * size
    if true <= 8:
        assert short == size
        assert abs(long - size * true) <= 0.5 + 1e-9
    else:
        assert long == 8 * size


@given(sides, sides, st.integers(1, 64), st.sampled_from(["whole", "crop", "squash"]))
def test_truth_and_image_have_the_same_geometry(height, width, size, fit):
    image = np.zeros((height, width, 3), np.uint8)
    assert fit_truth(image[..., 0], size, fit).shape == fit_image(image, size, fit).shape[:2]


@given(sides, sides, st.integers(1, 64))
def test_the_crop_is_the_paper_s(height, width, size):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    short = min(height, width)
    tall, wide = size * height // short, size * width // short
    resized = np.asarray(Image.fromarray(image).resize((wide, tall), Image.Resampling.NEAREST))
    top, left = round((tall - size) / 2), round((wide - size) / 2)
    cropped = fit_image(image, size, "crop")
    assert np.array_equal(cropped, resized[top : top + size, left : left + size])
    assert np.array_equal(fit_truth(image[..., 0], size, "crop"), cropped[..., 0])


@given(sides, sides, st.integers(1, 64))
def test_labels_never_mix(height, width, size):
    truth = np.random.default_rng(0).choice(np.array([0, 128, 255], np.uint8), (height, width))
    assert set(np.unique(fit_truth(truth, size))) <= set(np.unique(truth))


def test_half_of_an_offset_is_rounded_to_even():
    columns = np.broadcast_to(np.arange(133, dtype=np.uint8), (128, 133))
    assert fit_image(columns, 128, "crop")[0, 0] == 2


def test_shrinking_the_whole_image_averages_fine_detail():
    stripes = np.zeros((512, 512, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.abs(fit_image(stripes, 128)[:, 2:-2].astype(int) - 127.5).max() < 2


def test_a_hairline_neither_explodes_nor_vanishes():
    line = np.zeros((1, 30000, 3), np.uint8)
    assert fit_image(line).shape == (1, 1024, 3)
    assert fit_image(line, fit="crop").shape == (128, 128, 3)
    assert fit_image(line, fit="squash").shape == (128, 128, 3)


@given(sides, sides, st.integers(1, 64))
def test_a_squashed_image_is_all_of_it_made_square(height, width, size):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    whole = Image.fromarray(image)
    for resize, filter in ((fit_image, "BICUBIC"), (fit_truth, "NEAREST")):
        expected = whole.resize((size, size), Image.Resampling[filter])
        assert np.array_equal(resize(image, size, "squash"), np.asarray(expected))


def test_a_squashed_mask_goes_back_to_the_shape_of_its_image():
    mask = disc(40, 100, 0.3)
    working = fit_truth(mask.astype(np.uint8), 32, "squash") > 0
    restored = restore_mask(working, 40, 100)
    assert (restored & mask).sum() / (restored | mask).sum() > 0.95


@pytest.mark.parametrize("fit", ["whole", "crop", "squash"])
def test_an_image_of_the_working_size_is_unchanged(fit):
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    assert np.array_equal(fit_image(image, 128, fit), image)


@pytest.mark.parametrize("resize", [fit_image, fit_truth])
@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (RGB.astype(float), {}, "uint8"),
        (RGB[..., :2], {}, "shape"),
        (RGB[:, :0], {}, "no pixels"),
        (RGB, {"size": 0}, "size must be at least 1"),
        (RGB, {"fit": "stretch"}, '"whole", "crop" or "squash"'),
    ],
)
def test_wrong_arguments_are_named(resize, image, options, message):
    with pytest.raises(ValueError, match=message):
        resize(image, **options)


@pytest.mark.reference
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")
def test_the_crop_equals_the_authors_input():
    with np.load(SHARED / "reference" / "author_reference.npz", allow_pickle=False) as reference:
        names, images = reference["names"], reference["images"]
    for name, image in zip(names, images, strict=True):
        folder, stem = name.split("/")
        (path,) = (path for path in (SHARED / "data" / folder / "images").iterdir() if path.stem == stem)
        assert np.array_equal(fit_image(read_image(path).pixels, 128, "crop"), image), name


# The way back


@given(st.integers(1, 40), st.integers(1, 40), sides, sides, st.booleans())
def test_an_empty_or_full_mask_stays_so(h, w, height, width, value):
    restored = restore_mask(np.full((h, w), value), height, width)
    assert restored.shape == (height, width)
    assert restored.dtype == bool
    assert (restored == value).all()


def test_a_mask_of_the_right_size_is_unchanged():
    mask = np.random.default_rng(0).random((20, 30)) < 0.5
    assert np.array_equal(restore_mask(mask, 20, 30), mask)


@pytest.mark.parametrize(("height", "width"), [(1200, 1600), (300, 400), (96, 128), (48, 64)])
def test_a_disc_stays_a_disc(height, width):
    truth = disc(height, width, 0.3)
    restored = restore_mask(disc(128, 171, 0.3), height, width)
    assert (restored & truth).sum() / (restored | truth).sum() > 0.97


def test_the_edge_of_an_enlarged_disc_is_not_made_of_blocks():
    truth = disc(1024, 1024, 0.3)
    mask = disc(64, 64, 0.3)
    blocks = np.kron(mask, np.ones((16, 16), bool))
    assert (restore_mask(mask, 1024, 1024) ^ truth).sum() < (blocks ^ truth).sum() / 2


@given(st.integers(0, 2**32 - 1))
def test_restoring_commutes_with_mirroring(seed):
    mask = np.random.default_rng(seed).random((8, 8)) < 0.5
    restored = restore_mask(mask, 64, 48)
    assert (restore_mask(mask[::-1], 64, 48)[::-1] == restored).mean() > 0.99
    assert (restore_mask(mask[:, ::-1], 64, 48)[:, ::-1] == restored).mean() > 0.99


# Writing


def test_a_mask_is_written_as_black_and_white():
    mask = np.random.default_rng(0).random((20, 30)) < 0.5
    with Image.open(BytesIO(encode_mask(mask))) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        assert np.array_equal(np.asarray(image), np.where(mask, 255, 0))


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4)])
def test_png_keeps_every_pixel(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with Image.open(BytesIO(encode_png(pixels))) as image:
        assert np.array_equal(np.asarray(image), pixels)


def test_a_file_is_written_with_its_folders_and_replaced(tmp_path):
    path = tmp_path / "a" / "b" / "mask.png"
    write_atomically(path, b"first")
    write_atomically(str(path), b"second")
    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_as_open_as_any_other(tmp_path):
    (tmp_path / "usual").write_bytes(b"")
    write_atomically(tmp_path / "atomic", b"")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "mask.png"
    path.write_bytes(b"old")

    def fail(*paths):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match=r"pipe\.jpg: not a file"):
        read_image(tmp_path / "pipe.jpg")
