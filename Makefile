# Portcullis. Two commands do everything on a fresh Debian 12 with Rust, git and make: `make demo` and `make test`.
#
#   make demo            builds and plays the rehearsal, then stays for a browser; SCRIPT=1 ends after the script
#   make test            installs the peers and passes all tests
#   make check           what CI runs: format, lints, licences, then make test
#   make test-long       fuzzing, Keycloak, packages, the long runs; wants a nightly toolchain for the fuzzers. An hour or two
#   make test-rules      takes each rule out of the sources, to see a test fall. A night
#   make package         the Debian package, the portable tarball, the image and their bills of materials, in target/package
#   make bench-scim      a directory of a million people: minutes, and some gigabytes of disk
#   make bench           the hot path without sockets, then everything beside nginx, HAProxy and a bare Pingora

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help demo test check test-long test-rules package release-pgo bench bench-scim tools

help:
	@sed -n 's/^#   \(make .*\)/\1/p' Makefile

demo: tools
	cargo build --quiet -p portcullis -p portcullis-rehearsal --bins
	$${CARGO_TARGET_DIR:-target}/debug/portcullis-rehearsal $(if $(SCRIPT),--script)

test: tools
	@tests/run

test-long: tools
	@tests/run long

test-rules: tools
	@tests/run rules

check:
	@.ci/run

package: tools
	@packaging/package

release-pgo: tools
	@benches/release-pgo

bench: tools
	peers=$$(benches/peers) && PORTCULLIS_BENCH_PEERS=$$peers cargo bench --bench hot_path --bench requests

bench-scim: tools
	cargo bench --bench directory

# A C compiler and cmake, for the C code that SQLite, ring and Pingora's compression bring along. Nothing else.
tools:
	@tests/tools
