//go:build linux

package e2e_test

import (
	"testing"
)

func TestA01IPLiteral(t *testing.T) {
	t.Parallel()
	b := attacker(t, "destination")
	b.works(t, "-via", "proxy", "http://ok.test/twin/a01")
	b.works(t, "-via", "direct", "http://ok.test/twin/a01")
	b.works(t, "-via", "direct", "https://ok.test/twin/a01")
	b.works(t, "-via", "connect", "https://ok.test/twin/a01")
	b.works(t, "-via", "socks", "https://ok.test/twin/a01")
	b.works(t, "-via", "connect", "-h2", "https://ok.test/twin/a01")
	b.works(t, "-via", "connect", "https://gateway.test/twin/a01")
	b.works(t, "-via", "direct", "https://deep.wild.test/twin/a01")
}
