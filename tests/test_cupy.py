"""What can be shown of CuPy without a GPU: it takes every call of the core, and its arrays are known as such.

Without a device, they are genuine arrays over the host's memory: views of them are made; names, keywords and
axes are checked; and what needs a kernel ends in CUDA's own error. With a device, they lie there, and every
call runs.
"""

import inspect
import operator
from pathlib import Path

import numpy as np
import pytest
from array_api_compat import array_namespace, device, is_array_api_obj, is_cupy_array

import iem_xp
import scenes
from backends import Backend
from counting import CONVERSIONS, Array, Library, Operand, exchange
from hostcuda import COMPILER, CudaLibrary, kernels_of
from iem_xp import IEMConfig, arrays, engines, metrics, segment
from iem_xp.layout import check_images, check_masks

cupy = pytest.importorskip("cupy", reason="CuPy is not installed")

import array_api_compat.cupy as xp  # noqa: E402

SOURCE = (Path(iem_xp.__file__).parent / "kernels.cu").read_text(encoding="utf-8")
HAS_DEVICE = Backend.CUPY.missing() is None


def on_device(array, kind=cupy.ndarray):
    """A CuPy array: on a device if there is one, else over the host's memory."""
    array = np.array(array, order="C")
    if HAS_DEVICE:
        return cupy.asarray(array).view(kind)
    memory = cupy.cuda.UnownedMemory(array.ctypes.data, array.nbytes, array, 0)
    return kind(array.shape, array.dtype, cupy.cuda.MemoryPointer(memory, 0))


# Every call of the core


def work(library):
    """Everything that the core does, for all its options, shapes and data types."""
    rng = np.random.default_rng(0)
    images, masks = scenes.images(rng, 3), np.stack([scenes.mask(rng) for _ in range(3)])
    everywhere = {"boundary_only": False, "smooth": False, "regularization": 0.0, "scale_factor": 2}
    configs = [IEMConfig(iterations=5), IEMConfig(iterations=5, init_sides=92, choose="image", **everywhere)]
    kinds = [images, images / 255, (images / 255).astype(np.float32), (images / 255).astype(np.float16)]
    truth, M = library.asarray(~masks), library.asarray(masks)
    segment(library.asarray(images))  # to the end, where images leave their batch
    for config in configs:
        for kind in kinds:
            X = library.asarray(kind)
            segment(X, config)
            segment(X, config, init=M)
            segment(X[0, ...], config, init=library.astype(M[0, ...], library.uint8))
            for formula in (iem_xp.inpaint, iem_xp.inpainting_error, iem_xp.objective):
                formula(X, M, config)
        segment(library.asarray(images[0, :, :, 0]), config)
        segment(library.asarray(images[:0]), config)
    wide = library.asarray(scenes.images(rng, 2, 20, 150))  # its filter takes several products
    segment(wide, IEMConfig(iterations=3))
    for metric in (metrics.accuracy, metrics.iou, metrics.mean_iou, metrics.dice):
        metric(M, truth)
        metric(M, truth, ignore=truth, polarity="either")


def kind_of(value):
    """What tells calls apart: data types and numbers of axes, not sizes."""
    if isinstance(value, Operand):
        return value.dtype, len(value.shape)
    if isinstance(value, (tuple, list)):
        return tuple(map(kind_of, value[:4]))
    return value if isinstance(value, (str, type, np.dtype)) else type(value)


@pytest.fixture(scope="module")
def calls():
    """The calls of the core, one of each kind: those of the array code, and those around its kernels."""
    found = []
    for library in [Library()] + [CudaLibrary()] * (COMPILER is not None):
        work(library)
        found += [call for call in library.calls if call.name not in kernels_of(SOURCE)]
    by_kind = {}
    for call in found:
        keywords = tuple((name, kind_of(value)) for name, value in sorted(call.keywords.items()))
        by_kind.setdefault((call.name, kind_of(call.arguments), keywords), call)
    return list(by_kind.values())


def test_nothing_comes_to_the_host_unasked(calls):
    assert {call.name for call in calls if call.down} <= {"__bool__", "__float__", "nonzero", "to_host"}


def test_every_function_exists_and_its_signature_takes_what_the_core_gives(calls):
    functions = [call for call in calls if not call.name.startswith("__") and call.name != "to_host"]
    assert len({call.name for call in functions}) > 15
    for call in functions:
        function = getattr(xp, call.name)
        if isinstance(function, cupy.ufunc):
            assert (len(call.arguments), call.keywords) == (function.nin, {}), call
        else:
            inspect.signature(function).bind(*call.arguments, **call.keywords)


def test_every_operator_and_attribute_exists(calls):
    operators = {call.name for call in calls if call.name.startswith("__")}
    assert len(operators) > 10
    attributes = {name for name, value in vars(Array).items() if isinstance(value, property)}
    assert not (operators | attributes) - set(dir(cupy.ndarray))


@pytest.mark.filterwarnings(
    "ignore:.*'cupy:pytest.PytestUnraisableExceptionWarning"
)  # CuPy 13, of its stream
def test_every_call_is_taken_as_far_as_a_device_is_needed(calls):
    outcomes = [outcome(call) for call in calls]
    assert set(outcomes) == ({"done"} if HAS_DEVICE else {"done", "needs a device"})
    assert outcomes.count("done") > 10  # views, at least


def outcome(call):
    """Do a call with CuPy's arrays. Whatever is wrong with it is an error of another type than the caught."""
    arguments, keywords = exchange((call.arguments, call.keywords), zeros_like, Operand)
    if "device" in keywords:
        keywords["device"] = device(on_device(np.zeros(1)))
    if call.name == "to_host":
        function = arrays.to_host
    elif call.name.startswith("__"):
        function = getattr(operator, call.name, None) or getattr(cupy.ndarray, call.name)
    else:
        function = getattr(xp, call.name)
    try:
        function(*arguments, **keywords)
    except cupy.cuda.runtime.CUDARuntimeError:
        return "needs a device"
    except ImportError as error:  # CuPy looks for cuBLAS before it looks for a device
        return "needs a device" if "cublas" in str(error) else str(error)
    return "done"


def zeros_like(operand):
    return on_device(np.zeros(operand.shape, operand.dtype))


def test_elementwise_cupy_has_the_types_of_numpy(calls):
    elementwise = [(call, ufunc_of(call)) for call in calls]
    elementwise = [(call, ufunc) for call, ufunc in elementwise if ufunc not in (None, np.matmul, np.vecdot)]
    assert len({ufunc for _, ufunc in elementwise}) > 8
    for call, ufunc in elementwise:
        given = [value.dtype if isinstance(value, Operand) else type(value) for value in call.arguments]
        *inputs, result = ufunc.resolve_dtypes((*given, None))
        loops = [loop.split("->") for loop in getattr(cupy, ufunc.__name__).types]
        fitting = [written for read, written in loops if all(map(is_safe, inputs, read))]
        assert np.dtype(fitting[0]) == result, call


def ufunc_of(call):
    """Universal function of NumPy behind an operator or a function, or None."""
    if not call.name.startswith("__"):
        function = getattr(np, call.name, None)
        return function if isinstance(function, np.ufunc) else None
    if call.name.strip("_") in CONVERSIONS or call.name in ("__getitem__", "__setitem__"):
        return None

    class Probe(np.ndarray):
        def __array_ufunc__(self, ufunc, method, *inputs, **keywords):
            return ufunc

    probe = np.ones(1).view(Probe)
    return getattr(probe, call.name)(*[probe] * (len(call.arguments) - 1))


def is_safe(dtype, character):
    return character in np.typecodes["All"] and np.can_cast(dtype, character, "safe")


def test_products_are_of_one_floating_type_that_cublas_has(calls):
    products = [call for call in calls if call.name in ("__matmul__", "vecdot")]
    types = {frozenset(operand.dtype.name for operand in call.arguments) for call in products}
    assert types == {frozenset({"float32"}), frozenset({"float64"})}


# Genuine arrays


@pytest.fixture
def images(rng):
    return on_device(scenes.images(rng, 2))


@pytest.fixture
def masks(rng):
    return on_device(np.stack([scenes.mask(rng), scenes.mask(rng)]))


def test_a_cupy_array_is_recognized(images):
    assert is_array_api_obj(images)
    assert is_cupy_array(images)
    assert array_namespace(images) is xp
    assert device(images) == cupy.cuda.Device(0)
    assert not arrays.is_cached(images)


def test_an_implicit_copy_to_the_host_raises(images):
    with pytest.raises(TypeError, match="Implicit conversion to a NumPy array is not allowed"):
        np.asarray(images)
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.array([images[0], images[1]])


def test_the_host_gets_an_array_by_its_own_method(rng):
    class Asked(cupy.ndarray):
        def get(self, *arguments, **keywords):
            return "what get returns"

    assert arrays.to_host(on_device(rng.random((2, 3)), Asked)) == "what get returns"


def test_images_are_checked_where_they_are(images):
    assert check_images(images) is images
    for single, shape in [(images[0], (1, 24, 20, 3)), (images[0, :, :, 0], (1, 24, 20, 1))]:
        checked = check_images(single)
        assert type(checked) is cupy.ndarray
        assert checked.shape == shape
        assert checked.data.ptr == single.data.ptr
    with pytest.raises(TypeError, match="not int16"):
        check_images(on_device(np.zeros((4, 5), np.int16)))
    with pytest.raises(ValueError, match=r"\(N, H, W\), not|or \(H, W\), not \(5,\)"):
        check_images(on_device(np.zeros(5, np.uint8)))


def test_masks_are_checked_where_they_are(images, masks):
    checked = check_masks(masks, images)
    assert type(checked) is cupy.ndarray
    assert checked.data.ptr == masks.data.ptr
    with pytest.raises(ValueError, match=r"masks of shape \(1, 24, 20\) do not fit"):
        check_masks(masks[0], images)
    with pytest.raises(TypeError, match=r"masks must be bool, or integers.*not float64"):
        check_masks(on_device(np.zeros((2, 24, 20))), images)


def test_arrays_of_the_host_and_of_a_gpu_do_not_mix(images, rng):
    with pytest.raises(TypeError, match="one library, not init: numpy, images: cupy"):
        check_masks(np.zeros((2, 24, 20), bool), images, "init")
    with pytest.raises(TypeError, match="one library, not masks: cupy, truth: numpy"):
        metrics.iou(on_device(np.zeros((2, 4, 5), bool)), np.zeros((2, 4, 5), bool))


def test_the_fused_engine_refuses_a_cupy_array_by_name(images):
    with pytest.raises(engines.EngineError, match="cannot take arrays of cupy, only NumPy's"):
        engines.choose("fused", images, 1, IEMConfig())


def test_however_much_the_work_a_cupy_array_is_for_the_array_engine(images, automatic):
    said = []
    automatic.work = 1e6
    assert engines.choose("auto", images, 10**12, IEMConfig(), said.append) == "array"
    assert len(said) == 1
    assert "arrays of cupy" in said[0]


@pytest.mark.skipif(HAS_DEVICE, reason="there is a device, where it would just work")
@pytest.mark.parametrize("function", [segment, iem_xp.inpainting_error, iem_xp.objective, iem_xp.inpaint])
def test_without_a_device_a_cupy_array_is_an_error_and_never_computed_elsewhere(images, masks, function):
    given = (images,) if function is segment else (images, masks)
    with pytest.raises(RuntimeError, match=r"(?i)driver"):
        function(*given)
