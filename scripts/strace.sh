# shellcheck shell=bash
# strace, which shows what a process asks of the kernel.

strace_install() {
  if ! command -v strace >/dev/null; then need_packages strace; fi
}
