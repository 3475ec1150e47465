package doctor

import (
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestNamespacesFixNamesTheSwitchThatForbids(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		sysctls map[string]string
		err     error
		want    string
	}{
		"ubuntu 24.04":        {map[string]string{"kernel/apparmor_restrict_unprivileged_userns": "1"}, syscall.EPERM, "apparmor_restrict_unprivileged_userns=0"},
		"debian hardened":     {map[string]string{"kernel/unprivileged_userns_clone": "0"}, syscall.EPERM, "unprivileged_userns_clone=1"},
		"limit of zero":       {map[string]string{"user/max_user_namespaces": "0"}, syscall.ENOSPC, "max_user_namespaces=15000"},
		"kernel without them": {nil, syscall.EINVAL, "CONFIG_USER_NS"},
		"inside a container":  {map[string]string{"user/max_user_namespaces": "9000"}, errors.New("operation not permitted"), "docker run"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fix := namespacesFix(tc.err, func(name string) string { return tc.sysctls[name] })
			if !strings.Contains(fix, tc.want) {
				t.Errorf("fix %q does not name %q", fix, tc.want)
			}
		})
	}
}

func TestHostAnswersEveryQuestion(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range Host(t.Context(), program) {
		if c.Name == "" || c.Detail == "" {
			t.Errorf("check without name or answer: %+v", c)
		}
		if c.Status != OK && c.Fix == "" {
			t.Errorf("%s is %s and has no fix", c.Name, c.Status)
		}
	}
}

// A program that fails stands for a host where namespaces fail: the check must not pass it.
func TestNamespacesFailWhenTheProbeFails(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("false")
	if err != nil {
		t.Fatal(err)
	}
	c := namespaces(t.Context(), program, nil)
	if c.Status != Fail || !Failed([]Check{c}) {
		t.Errorf("got %+v, want a failure", c)
	}
}
