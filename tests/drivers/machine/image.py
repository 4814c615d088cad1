"""The guest's disks: a first root in memory, the system, and disks for data.

The system is a read-only ext4 image with busybox, udev, the drivers' modules, and
the program under test with all its libraries, copied from this host. No
distribution is installed into it.
"""

import gzip
import lzma
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

from .provision import ProvisionError, Provisions, run, tool

GUEST = Path(__file__).parent / "guest"

# Enough to mount the system.
BOOT_MODULES = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"]
# Loaded by the guest's init, in this order; each with what it needs.
SYSTEM_MODULES = [
    "virtio_console",
    "xhci_pci",
    "ftdi_sio",
    "cdc_acm",
    "uvcvideo",
    "dm_flakey",
    "dm_delay",
]
# Rules that name serial ports and cameras; the others cost time at every event.
UDEV_RULES = ["50-udev-default.rules", "60-serial.rules", "60-persistent-v4l.rules"]
UDEV_PROGRAMS = ["v4l_id"]
MODULE_SUFFIXES = (".ko", ".ko.xz", ".ko.gz")


class Modules:
    """The kernel's modules, by name."""

    def __init__(self, folder: Path):
        self.files = {}
        for path in folder.rglob("*.ko*"):
            name = path.name.split(".ko")[0].replace("-", "_")
            if path.name.endswith(MODULE_SUFFIXES):
                self.files[name] = path

    def read(self, name: str) -> bytes:
        path = self.files.get(name)
        if path is None:
            raise ProvisionError(f"the kernel has no module {name}")
        data = path.read_bytes()
        if path.suffix == ".xz":
            return lzma.decompress(data)
        return gzip.decompress(data) if path.suffix == ".gz" else data

    def closure(self, names: list[str]) -> dict[str, bytes]:
        """The modules and all that they need, in the order of loading.

        A module says itself what it needs, so that no depmod is needed here. One
        that is built into the kernel is not among the files.
        """
        ordered: dict[str, bytes] = {}

        def add(name: str, wanted: bool):
            if name in ordered or (name not in self.files and not wanted):
                return
            data = self.read(name)
            found = re.search(rb"\0depends=([^\0]*)\0", data)
            for needed in filter(None, (found[1] if found else b"").split(b",")):
                add(needed.decode().replace("-", "_"), wanted=False)
            ordered[name] = data

        for name in names:
            # What is built in cannot be listed as missing; virtio_pci may be either.
            add(name, wanted=name not in ("virtio_pci", "crc32c_generic", "virtio_blk"))
        return ordered


def write_modules(folder: Path, modules: dict[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in modules.items():
        (folder / f"{name}.ko").write_bytes(data)
    (folder / "order").write_text("".join(f"{name}\n" for name in modules))


def cpio(tree: Path) -> bytes:
    """A tree in the kernel's archive format (newc)."""
    out = bytearray()

    def entry(number: int, name: str, mode: int, data: bytes):
        fields = [number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        out.extend(b"070701" + b"".join(b"%08X" % field for field in fields))
        out.extend(name.encode() + b"\0")
        out.extend(b"\0" * (-len(out) % 4))
        out.extend(data)
        out.extend(b"\0" * (-len(out) % 4))

    for number, path in enumerate(sorted(tree.rglob("*")), start=1):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            data = os.readlink(path).encode()
        else:
            data = path.read_bytes() if path.is_file() else b""
        entry(number, str(path.relative_to(tree)), status.st_mode, data)
    entry(0, "TRAILER!!!", 0, b"")
    return bytes(out)


def build_initrd(provisions: Provisions, modules: Modules, target: Path) -> None:
    tree = target.with_suffix(".tree")
    shutil.rmtree(tree, ignore_errors=True)
    for folder in ("bin", "dev", "proc", "sys", "system"):
        (tree / folder).mkdir(parents=True)
    shutil.copy(provisions.program("busybox"), tree / "bin/busybox")
    write_modules(tree / "modules", modules.closure(BOOT_MODULES))
    shutil.copy(GUEST / "first-init", tree / "init")
    (tree / "init").chmod(0o755)
    target.write_bytes(cpio(tree))
    shutil.rmtree(tree)


def libraries(program: Path, library_path: str) -> list[Path]:
    """What the dynamic loader would load for a program."""
    environment = dict(os.environ)
    if library_path:
        environment["LD_LIBRARY_PATH"] = library_path
    listing = subprocess.run(
        [tool("ldd"), str(program)], capture_output=True, text=True, check=False, env=environment
    ).stdout
    missing = re.findall(r"(\S+) => not found", listing)
    if missing:
        raise ProvisionError(f"{program} needs {', '.join(missing)}, which this host lacks")
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", listing)]


def build_system(provisions: Provisions, modules: Modules, program: Path, target: Path) -> None:
    tree = target.with_suffix(".tree")
    shutil.rmtree(tree, ignore_errors=True)
    library_folder = tree / "usr/lib/x86_64-linux-gnu"
    for folder in ("usr/bin", "usr/lib/udev/rules.d", "etc", "dev", "proc", "sys", "run", "tmp", "data", "var"):
        (tree / folder).mkdir(parents=True)
    library_folder.mkdir()
    for link in ("bin", "lib", "sbin"):
        (tree / link).symlink_to("usr/bin" if link == "sbin" else f"usr/{link}")
    (tree / "lib64").symlink_to("usr/lib/x86_64-linux-gnu")
    (tree / "etc/passwd").write_text("root:x:0:0:root:/tmp:/bin/sh\n")
    (tree / "etc/group").write_text("root:x:0:\ntty:x:5:\ndialout:x:20:\nvideo:x:44:\n")

    programs = {
        "dexumi": program,
        "busybox": provisions.program("busybox"),
        "udevadm": provisions.program("udevadm"),
        "dmsetup": provisions.program("dmsetup"),
        "v4l2-ctl": provisions.program("v4l2-ctl"),
    }
    udev = next(folder for folder in (provisions.root / "usr/lib/udev", provisions.root / "lib/udev") if folder.exists())
    for rules in UDEV_RULES:
        shutil.copy(udev / "rules.d" / rules, tree / "usr/lib/udev/rules.d")
    needed = set()
    for name, path in programs.items():
        shutil.copy(path, tree / "usr/bin" / name)
        ours = path.is_relative_to(provisions.cache)
        needed.update(libraries(path, provisions.library_path() if ours else ""))
    for name in UDEV_PROGRAMS:
        shutil.copy(udev / name, tree / "usr/lib/udev")
        needed.update(libraries(udev / name, provisions.library_path()))
    for library in needed:
        shutil.copy(library, library_folder)
    # The daemon is udevadm by another name.
    (tree / "usr/bin/systemd-udevd").symlink_to("udevadm")
    write_modules(tree / "usr/lib/modules", modules.closure(SYSTEM_MODULES))
    for script in ("init", "agent"):
        shutil.copy(GUEST / script, tree / "usr/bin" / script)
        (tree / "usr/bin" / script).chmod(0o755)

    make_disk(target, megabytes=32 + used_megabytes(tree), content=tree, journal=False)
    shutil.rmtree(tree)


def used_megabytes(tree: Path) -> int:
    sizes = sum(path.lstat().st_size for path in tree.rglob("*"))
    return int(sizes * 1.1) // 1_000_000


def make_disk(target: Path, megabytes: int, content: Path | None = None, journal: bool = True) -> None:
    """An ext4 disk, empty or with a tree in it."""
    target.unlink(missing_ok=True)
    features = [] if journal else ["-O", "^has_journal"]
    filled = [] if content is None else ["-d", content]
    run(
        tool("mke2fs"), "-q", "-t", "ext4", "-m", "0", "-E", "root_owner=0:0,lazy_itable_init=1",
        *features, *filled, target, f"{megabytes}M",
    )


def read_folder(disk: Path, folder: str, target: Path) -> None:
    """Copies a folder out of an ext4 disk that nothing has mounted."""
    target.mkdir(parents=True, exist_ok=True)
    run(tool("debugfs"), "-R", f"rdump {folder} {target}", disk)


def read_file(disk: Path, path: str) -> str:
    """A file's content, empty where there is none."""
    return run(tool("debugfs"), "-R", f"cat {path}", disk)


def replay_journal(disk: Path) -> None:
    """What the kernel does when it mounts a disk after a power cut."""
    result = subprocess.run(
        [tool("e2fsck"), "-E", "journal_only", "-p", str(disk)],
        capture_output=True, text=True, check=False,
    )
    # 1: errors were corrected, which is the journal's replay.
    if result.returncode not in (0, 1):
        raise RuntimeError(f"e2fsck ended with {result.returncode}: {result.stdout}{result.stderr}")
