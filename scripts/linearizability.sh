# shellcheck shell=bash
# The checker of histories, built of scripts/linearizability, in .test/.

export GAMESHELF_TEST_LINEARIZABILITY="$PWD/.test/linearizability"

linearizability_build() {
  if ! command -v go >/dev/null; then need_packages golang-go; fi
  mkdir -p "$(dirname "$GAMESHELF_TEST_LINEARIZABILITY")"
  (
    cd scripts/linearizability
    go vet .
    gofmt -d . | { ! grep .; }
    # Its tests are its negative controls: histories that it must not call right.
    go test .
    # The state of the working tree is of no interest, and asking for it fails in some of them.
    go build -buildvcs=false -o "$GAMESHELF_TEST_LINEARIZABILITY" .
  )
}
