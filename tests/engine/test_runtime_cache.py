"""The machine code of the kernels: kept on disk, compiled once, never run where others could have written it."""

from __future__ import annotations

import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

import kernel_guest
from kernel_guest import run
from torchbce import functional
from torchbce.jit import cache

only_the_kernels = kernel_guest.only_the_kernels


def test_the_machine_code_is_kept_and_numba_is_not_needed_to_use_it(tmp_path):
    script = """
        import sys, torch, torchbce
        print(torchbce.functional.binary_cross_entropy(torch.tensor([0.25]), torch.tensor([1.0])).item())
        print("numba" in sys.modules)
    """
    place = tmp_path / "new" / "cache"
    first, second = (run(script, TORCHBCE_CACHE=str(place)) for _ in range(2))
    assert first.stdout.split() == ["1.3862943649291992", "True"], first.stderr
    assert second.stdout.split() == ["1.3862943649291992", "False"], second.stderr
    (kept,) = (path for path in place.iterdir() if path.suffix != ".lock")  # no temporary file is left
    if os.name == "posix":  # for its user alone
        assert [stat.S_IMODE(path.stat().st_mode) for path in (place, kept)] == [0o700, 0o600]
    whole = kept.read_bytes()
    assert cache.read(kept) is not None
    for damaged in (whole[:-100], whole[:40] + b"?" + whole[41:], b""):
        kept.write_bytes(damaged)
        assert cache.read(kept) is None  # and so it is compiled again


@pytest.mark.slow
@pytest.mark.processes
def test_processes_that_begin_together_compile_each_pass_once(tmp_path):
    script = """
        import os, torch, torchbce
        from torchbce.jit import machine_code
        compile = machine_code._compile
        def counted(to_llvm, name):
            with open(os.environ["COMPILED"], "a") as file:
                file.write(name + "\\n")
            return compile(to_llvm, name)
        machine_code._compile = counted
        x = torch.full((3,), 0.25, requires_grad=True)
        torchbce.functional.binary_cross_entropy(x, torch.ones(3)).backward()
        torchbce.functional.binary_cross_entropy(x, torch.ones(3), reduction="none").sum().backward()
        print(x.grad[0].item())
    """
    variables = {"TORCHBCE_CACHE": str(tmp_path / "cache"), "COMPILED": str(tmp_path / "compiled")}
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(lambda _: run(script, **variables), range(3)))
    assert len({one.stdout for one in found}) == 1, found[0].stderr
    names = (tmp_path / "compiled").read_text().split()
    assert len(names) == len(set(names)) > 1


def test_a_lock_that_nobody_lets_go_of_is_no_obstacle(tmp_path, monkeypatch):
    import filelock

    monkeypatch.setattr(cache, "PATIENCE", 0.1)
    with filelock.FileLock(tmp_path / "a.lock"), cache.made_once(tmp_path / "a.kernel"):
        pass
    with cache.made_once(tmp_path / "no folder" / "a.kernel"):
        pass


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path):
    file = tmp_path / "file"
    file.touch()  # a folder below a file cannot be made, by nobody
    script = """
        import torch, torchbce
        print(torchbce.functional.binary_cross_entropy(torch.tensor([0.25]), torch.tensor([1.0])).item())
        print(torchbce.engine_for(torch.rand(1), torch.rand(1)).name)
    """
    found = run(script, TORCHBCE_CACHE=str(file / "below"))
    assert found.stdout.split() == ["1.3862943649291992", "cpu"], found.stderr


def test_without_numba_the_reference_computes():
    script = """
        import importlib.util, torch, torchbce
        find = importlib.util.find_spec
        importlib.util.find_spec = lambda name, *rest: None if name == "numba" else find(name, *rest)
        x = torch.tensor([0.25], requires_grad=True)
        loss = torchbce.functional.binary_cross_entropy(x, torch.tensor([1.0]))
        loss.backward()
        print(loss.item(), x.grad.item(), torchbce.engine_for(x, torch.rand(1)))
    """
    found = run(script)
    assert found.stdout == "1.3862943649291992 -4.0 Engine(name='reference', reason='numba is not installed')\n"


CHEAP = """
    import torch, torchbce
    print(torchbce.functional.binary_cross_entropy(torch.tensor([0.25]), torch.tensor([1.0])).item())
"""


def test_known_machine_code_is_found_without_a_lock():
    from torchbce.jit import machine_code

    functional.binary_cross_entropy(torch.tensor([0.25]), torch.tensor([1.0]))  # compiled or loaded
    done = threading.Event()

    def call():
        functional.binary_cross_entropy(torch.tensor([0.25]), torch.tensor([1.0]))
        done.set()

    with machine_code._compiling, machine_code._loading:  # as while another thread compiles
        threading.Thread(target=call).start()
        assert done.wait(60)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_during_a_compile_waits_for_it_and_its_child_can_compile(tmp_path):
    script = """
        import os, sys, threading, time, torch, torchbce
        from torchbce.jit import machine_code
        compile, inside = machine_code._compile, threading.Event()
        def slowly(*arguments):
            inside.set()
            time.sleep(1)
            sys.exit()  # of this thread
        machine_code._compile = slowly
        x, y = torch.tensor([0.25]), torch.tensor([1.0])
        other = threading.Thread(target=lambda: torchbce.functional.binary_cross_entropy(x, y))
        other.start()
        inside.wait()
        child = os.fork()
        if child == 0:
            machine_code._compile = compile
            loss = torchbce.functional.binary_cross_entropy_with_logits(x, y, reduction="none")
            os._exit(0 if abs(loss.item() - 0.5759) < 1e-3 else 1)
        for _ in range(600):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                break
            time.sleep(0.1)
        print(done == child and status == 0)
        os._exit(0)
    """
    assert run(script, TORCHBCE_CACHE=str(tmp_path)).stdout == "True\n"


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="there are no owners")
def test_machine_code_that_others_could_have_written_is_not_run(tmp_path):
    own = tmp_path / "own"
    own.mkdir(mode=0o700)
    cache.write(own / "a.kernel", b"code")
    assert cache.read(own / "a.kernel") == b"code"
    (own / "a.kernel").chmod(0o666)
    assert cache.read(own / "a.kernel") is None
    (own / "a.kernel").chmod(0o600)
    (own / "b.kernel").symlink_to(own / "a.kernel")
    assert cache.read(own / "b.kernel") is None
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.warns(RuntimeWarning, match="not used for compiled kernels"):
        found = cache.folder(str(shared))
    assert found is not None
    assert found != shared
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: 4_000_000_000)
        assert cache.read(own / "a.kernel") is None


def test_without_a_home_folder_machine_code_is_kept_in_a_temporary_one(tmp_path):
    script = """
        import os, pathlib
        def no_home(*_): raise RuntimeError("Could not determine home directory.")
        pathlib.Path.expanduser = no_home
        os.path.expanduser = lambda path: path
        import platformdirs
        platformdirs.user_cache_path = no_home
        from torchbce.jit import machine_code
        print(machine_code.folder())
    """
    found = run(script, TORCHBCE_CACHE="", TMPDIR=str(tmp_path), HOME="")
    assert found.stdout.split() == [*map(str, tmp_path.glob("torchbce-*"))], found.stderr
    assert found.stdout


def test_where_numba_may_not_compile_the_reference_computes():
    script = CHEAP + "    print(torchbce.engine_for(torch.rand(1), torch.rand(1)))"
    found = run(script, NUMBA_DISABLE_JIT="1")
    assert found.stdout.startswith("1.3862943649291992\nEngine(name='reference', reason='NUMBA_DISABLE_JIT"), (
        found.stderr
    )
