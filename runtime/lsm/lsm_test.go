package lsm

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// What a ruleset handles grows with the kernel's version, and never loses
// anything: an access that is not handled is allowed.
func TestRulesetHandlesAllThatTheKernelKnows(t *testing.T) {
	for abi, want := range map[int]struct {
		size            uint32
		fs, net, scoped uint64
	}{
		0: {},
		1: {8, 0x1fff, 0, 0},
		2: {8, 0x3fff, 0, 0},
		3: {8, 0x7fff, 0, 0},
		4: {16, 0x7fff, 3, 0},
		5: {16, 0xffff, 3, 0},
		6: {24, 0xffff, 3, 3},
		9: {24, 0xffff, 3, 3},
	} {
		size, fs, net, scoped := Layers{LandlockABI: abi}.Ruleset()
		if size != want.size || fs != want.fs || net != want.net || scoped != want.scoped {
			t.Errorf("ABI %d: size %d, fs %#x, net %#x, scoped %#x; want %+v", abi, size, fs, net, scoped, want)
		}
	}
}

func TestLayers(t *testing.T) {
	for _, tt := range []struct {
		l     Layers
		none  bool
		names []string
	}{
		{Layers{}, true, []string{"namespaces", "seccomp"}},
		{Layers{LandlockABI: 4}, false, []string{"namespaces", "seccomp", "landlock-4"}},
		{Layers{AppArmor: profileName}, false, []string{"namespaces", "seccomp", "apparmor"}},
		{Layers{LandlockABI: 7, AppArmor: profileName}, false, []string{"namespaces", "seccomp", "landlock-7", "apparmor"}},
	} {
		if tt.l.None() != tt.none || !slices.Equal(tt.l.Names(), tt.names) {
			t.Errorf("%+v: none %v, names %q; want %v, %q", tt.l, tt.l.None(), tt.l.Names(), tt.none, tt.names)
		}
	}
}

func TestSetupFindsWhatThisKernelHas(t *testing.T) {
	if AppArmorEnabled() {
		t.Skip("AppArmor is on here: Setup would load its profile")
	}
	l, err := Setup()
	if err != nil || l.LandlockABI != LandlockABI() || l.AppArmor != "" {
		t.Errorf("%+v %v", l, err)
	}
}

// The profile is text that only AppArmor's own parser understands; without a
// kernel that has AppArmor, this is what can be said about it.
func TestProfileCompiles(t *testing.T) {
	parser, err := exec.LookPath("apparmor_parser")
	if err != nil {
		t.Skip("no apparmor_parser here (Debian: apparmor)")
	}
	cmd := exec.Command(parser, "--skip-kernel-load", "--skip-cache")
	cmd.Stdin = strings.NewReader(profile)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s\n%s", err, out, profile)
	}
}

func TestProfileDeniesByName(t *testing.T) {
	for _, want := range []string{
		"profile " + profileName + " ", "attach_disconnected", "deny capability,", "deny mount,", "deny ptrace,", "deny /proc/*/mem", "deny /proc/*/ns/", "deny /proc/*/net/",
	} {
		if !strings.Contains(profile, want) {
			t.Errorf("the profile does not say %q", want)
		}
	}
	for _, bad := range []string{"#include", "deny network", "network inet dgram", "network raw", "network packet", "network netlink", " ux,", " Ux,", " pux,", " w,\n  /etc", "/** rw", "capability sys"} {
		if strings.Contains(profile, bad) {
			t.Errorf("the profile says %q", bad)
		}
	}
}
