"""What the virtual machine is made of: QEMU, a Debian kernel, a few programs.

Everything is downloaded with apt's own client and unpacked into a cache folder;
nothing is installed, nothing of the host changes, and root is not needed. What
the host already has (a QEMU with USB redirection, dmsetup, …) is taken from it.
"""

import lzma
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

# Debian packages, beside the kernel: what for.
PACKAGES = {
    "qemu-system-x86": "the machine",
    "busybox-static": "the guest's shell",
    "udev": "names devices in the guest by their serial number",
    "dmsetup": "disks that fail and disks that are slow",
    "v4l-utils": "a second program that holds a camera",
}
# The host's own tools, with the package they come from.
HOST_TOOLS = {
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "mke2fs": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "e2fsck": "e2fsprogs",
    "ldd": "libc-bin",
}


class ProvisionError(Exception):
    """Something is missing; the message says what and what to do."""


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "dexumi-vm"


def tool(name: str) -> str:
    """A program of the host, also where PATH has no sbin."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    found = shutil.which(name, path=path)
    if found is None:
        package = HOST_TOOLS.get(name, name)
        raise ProvisionError(f"{name} is missing: apt-get install {package}")
    return found


def run(*command, **options) -> str:
    """Runs a program; an error carries what it said."""
    result = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        **options,
    )
    if result.returncode != 0:
        raise ProvisionError(
            f"{' '.join(str(part) for part in command)} ended with {result.returncode}: "
            f"{result.stderr.strip() or result.stdout.strip()}"
        )
    return result.stdout


@dataclass
class Provisions:
    """Where everything is."""

    cache: Path
    root: Path  # unpacked packages
    kernel: Path  # what QEMU boots
    release: str  # kernel version
    modules: Path  # /lib/modules/<release>

    def program(self, name: str) -> Path:
        """A program from the unpacked packages, else of the host."""
        for folder in ("usr/sbin", "usr/bin", "sbin", "bin"):
            path = self.root / folder / name
            if path.exists():
                return path
        return Path(tool(name))

    def library_path(self) -> str:
        """Where the unpacked programs' libraries are."""
        folders = [self.root / folder for folder in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")]
        private = self.root / "usr/lib/x86_64-linux-gnu/systemd"
        return ":".join(str(folder) for folder in [*folders, private] if folder.exists())

    def qemu(self) -> tuple[list[str], dict[str, str]]:
        """Command and environment of QEMU."""
        environment = dict(os.environ)
        unpacked = self.root / "usr/bin/qemu-system-x86_64"
        if not unpacked.exists():
            return [tool("qemu-system-x86_64")], environment
        environment["LD_LIBRARY_PATH"] = self.library_path()
        environment["QEMU_MODULE_DIR"] = str(self.root / "usr/lib/x86_64-linux-gnu/qemu")
        firmware = []
        for folder in ("usr/share/qemu", "usr/share/seabios"):
            firmware += ["-L", str(self.root / folder)]
        return [str(unpacked), *firmware], environment


def has_qemu() -> bool:
    """Whether the host has a QEMU that takes USB devices from a socket."""
    qemu = shutil.which("qemu-system-x86_64")
    if qemu is None:
        return False
    devices = subprocess.run(
        [qemu, "-device", "help"], capture_output=True, text=True, check=False
    ).stdout
    return '"usb-redir"' in devices and '"virtio-blk-pci"' in devices


def missing_packages(say) -> list[str]:
    """Exact names (`name=version`) of what apt would install, and of what that needs."""
    wanted = [name for name in PACKAGES if name != "qemu-system-x86" or not has_qemu()]
    # With the host's QEMU packages forgotten: a newer qemu-utils of a backport
    # conflicts with the release's qemu-system-x86, but not on disk.
    status = Path("/var/lib/dpkg/status").read_text(encoding="utf-8", errors="replace")
    kept = [entry for entry in status.split("\n\n") if not entry.startswith("Package: qemu")]
    scratch = cache_folder() / "dpkg-status"
    scratch.write_text("\n\n".join(kept), encoding="utf-8")
    try:
        lines = run(
            tool("apt-get"), "--print-uris", "-qq", "-y",
            "-o", f"Dir::State::status={scratch}", "-o", "Debug::NoLocking=1",
            "install", "--no-install-recommends", *wanted,
        )
    except ProvisionError as error:
        raise ProvisionError(
            f"{error}\napt does not know {', '.join(wanted)} (needs Debian 12 or 13, and its "
            "package lists: run apt-get update as root)"
        ) from error
    finally:
        scratch.unlink()
    exact = []
    for line in lines.splitlines():
        # 'address' name_version_arch.deb size hash
        name, version, _ = line.split()[1].rsplit("_", 2)
        exact.append(f"{name}={version.replace('%3a', ':')}")
    say(f"{len(exact)} packages for the virtual machine")
    return exact


def kernel_package() -> str:
    for line in run(tool("apt-cache"), "depends", "linux-image-amd64").splitlines():
        found = re.match(r"\s*Depends: (linux-image-\S+)", line)
        if found:
            return found[1]
    raise ProvisionError("apt knows no linux-image-amd64: run apt-get update as root")


def unpack(packages: list[str], root: Path) -> None:
    downloads = root.with_name(root.name + ".deb")
    shutil.rmtree(downloads, ignore_errors=True)
    shutil.rmtree(root, ignore_errors=True)
    downloads.mkdir(parents=True)
    # As root, apt changes to the user _apt for downloads and complains where that
    # user may not write.
    run(tool("apt-get"), "-o", "APT::Sandbox::User=root", "download", *packages, cwd=downloads)
    scratch = root.with_name(root.name + ".new")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for package in sorted(downloads.glob("*.deb")):
        run(tool("dpkg-deb"), "--extract", package, scratch)
    scratch.rename(root)
    shutil.rmtree(downloads)


def bootable(folder: Path, release: str) -> Path:
    """The kernel as QEMU boots it fastest: unpacked, where we know how."""
    packed = folder / f"boot/vmlinuz-{release}"
    plain = folder / "vmlinux"
    if plain.exists():
        return plain
    data = packed.read_bytes()
    at = data.find(b"\xfd7zXZ\x00")
    if at < 0:
        return packed
    scratch = folder / "vmlinux.new"
    scratch.write_bytes(lzma.LZMADecompressor().decompress(data[at:]))
    scratch.rename(plain)
    return plain


def provide(say=print) -> Provisions:
    """Downloads and unpacks what is missing (about 90 MB, once)."""
    if os.uname().machine != "x86_64":
        raise ProvisionError(f"the machine runs x86_64 programs, this host is {os.uname().machine}")
    for name in HOST_TOOLS:
        tool(name)
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / "root"
    if not root.exists():
        packages = missing_packages(say)
        say(f"downloading into {cache}")
        unpack(packages, root)
    kernels = cache / "kernel"
    if not kernels.exists():
        package = kernel_package()
        say(f"downloading {package} (about 70 MB)")
        unpack([package], kernels)
    modules = next(iter([*kernels.glob("lib/modules/*"), *kernels.glob("usr/lib/modules/*")]))
    return Provisions(
        cache=cache,
        root=root,
        kernel=bootable(kernels, modules.name),
        release=modules.name,
        modules=modules,
    )
