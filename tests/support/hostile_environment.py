"""Variables that the packages below kernelviz read, with values that make sense and values that do not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

from hypothesis import strategies as st

import kernelviz

WORDS = [
    *("", " ", "0", "1", "-1", "x", "nan", "99999999999999999999", "true", "a\x1b[31m", "é", "\udcff", "\n", "~", "~x"),
    *("a" * 5000, "~/x", "%s{}", "module://x", "1,2,3", "[", "/", ".", "relative", "a:b,c", "help", "+dynamo"),
]
ADDRESSES = [
    *("http://127.0.0.1:9", "http://[", "https://", "ftp://x", "http://127.0.0.1:99999", "127.0.0.1:9", "http://a b"),
    *(
        "http://me:secret@127.0.0.1:9/",
        "http://127.0.0.1:9/é",
        f"http://{'a' * 300}",
        "http://127.0.0.1:9\n",
        "http://\udcff",
    ),
]
PATHS = [
    *(
        "file",
        "empty",
        "private",
        "fixed",
        "pipe",
        "loop",
        "dangling",
        "socket",
        "missing",
        "missing/deeper",
        "private/x",
    ),
    *(
        "file/x",
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/proc",
        "/proc/self/mem",
        "/dev/null/x",
        "a" * 300,
        "/b" * 2500,
    ),
]
# Without those with which Python itself does not start.
VARIABLES = {
    "words": [
        *("MPLBACKEND", "SOURCE_DATE_EPOCH", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY"),
        *("GOMP_SPINCOUNT", "OMP_DYNAMIC", "OMP_PLACES", "OMP_SCHEDULE", "OPENBLAS_NUM_THREADS", "TORCH_LOGS"),
        *("TORCH_TRACE", "TORCHDYNAMO_DISABLE", "TORCH_COMPILE_DEBUG", "PYTORCH_ALLOC_CONF"),
        *("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_JIT", "CUDA_VISIBLE_DEVICES", "ATEN_CPU_CAPABILITY"),
        *("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "TORCH_DEVICE_BACKEND_AUTOLOAD", "TIMM_FUSED_ATTN"),
        *("TIMM_USE_SCIPY_INTERP", "TIMM_USE_NAFLEX", "TIMM_USE_OLD_CACHE", "TIMM_REENTRANT_CKPT"),
        *("WDS_SHUFFLE_SIZE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_OFFLINE", "HF_HUB_ETAG_TIMEOUT"),
        *("HF_HUB_DOWNLOAD_TIMEOUT", "HF_DEBUG", "HF_HUB_DISABLE_SYMLINKS"),
        *("HF_HUB_ENABLE_HF_TRANSFER", "HUGGINGFACE_CO_STAGING", "HF_HUB_USER_AGENT_ORIGIN", "COLUMNS", "LINES"),
        *("LANG", "LC_ALL", "NO_COLOR", "FORCE_COLOR", "TERM", "COLORTERM"),
        *("TTY_COMPATIBLE", "TTY_INTERACTIVE", "UNICODE_VERSION", "TZ", "USER"),
    ],
    "paths": [
        *("MPLCONFIGDIR", "MATPLOTLIBRC", "TORCH_HOME", "TORCHINDUCTOR_CACHE_DIR", "HF_HOME", "HF_HUB_CACHE"),
        *("HUGGINGFACE_HUB_CACHE", "HF_ASSETS_CACHE", "HF_TOKEN_PATH", "HF_XET_CACHE", "XDG_CACHE_HOME"),
        *("XDG_CONFIG_HOME", "HOME", "TMPDIR"),
    ],
    "addresses": [
        *("HF_ENDPOINT", "HF_INFERENCE_ENDPOINT", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    ],
}

COMMANDS = [
    "--help",
    "env",
    "models test_*",
    "layers test_resnet",
    "kernels test_resnet --weights random -o out",
    "kernels resnet18d -o out --timeout 3",
    "features test_resnet sample:grace_hopper --weights random --style bare -l conv1.0 -o out",
    "explain conv --input 4 --kernel 2 -o out",
]
"""Which between them import everything."""


@st.composite
def environments(draw):
    """Some variables with values."""
    kinds = {"words": WORDS, "paths": PATHS, "addresses": ADDRESSES}
    names = st.sampled_from([(name, kind) for kind, names in VARIABLES.items() for name in names])
    chosen = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    return {name: draw(st.sampled_from(kinds[kind] + WORDS)) for name, kind in chosen}


def make_places():
    """The files that the paths name, in the working directory."""
    Path("file").write_text("x")
    for name, mode in (("empty", 0o755), ("private", 0o700), ("fixed", 0o555)):
        Path(name).mkdir(mode)
    if os.geteuid():
        Path("private").chmod(0)
    else:
        os.chown("private", 65534, 65534)
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    Path("dangling").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")


_RUN = """
from restraints import permissions_that_bind
with permissions_that_bind():
    from kernelviz.cli.main import run
    run()
"""


def run_in(environment, words, *, home):
    """The exit code, stdout and stderr of a command in a process whose environment is nothing but this."""
    python_path = os.pathsep.join(map(str, (Path(kernelviz.__file__).parents[1], Path(__file__).parent)))
    settings = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "PYTHONPATH": python_path,
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    settings |= {"OMP_NUM_THREADS": "1", "HF_ENDPOINT": "http://127.0.0.1:9", "LANG": "C.UTF-8"}
    process = subprocess.run(
        [sys.executable, "-c", _RUN, *words], env=settings | environment, stdin=subprocess.DEVNULL, capture_output=True,
        timeout=120, check=False,
    )  # fmt: skip
    return process.returncode, process.stdout.decode(errors="replace"), process.stderr.decode(errors="replace")
