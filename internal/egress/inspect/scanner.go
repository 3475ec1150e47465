package inspect

import (
	"github.com/claude-bottle/claude-bottle/internal/scan"
	"github.com/claude-bottle/claude-bottle/internal/scan/shape"
	"github.com/claude-bottle/claude-bottle/internal/scan/unpack"
)

// maxExpanded bounds what compressed data inside some encoding may come to, in bytes.
const maxExpanded = 16 << 20

// NewScanner makes the scanner an Inspector is used with: for secrets, the credential shapes everybody
// looks for, the operator's own, which may be nil, and whatever lies in compressed data.
func NewScanner(secrets []scan.Secret, own *shape.Rules) (*scan.Scanner, error) {
	return scan.New(scan.Config{
		Secrets: secrets, Shapes: shapes{own}, Entropy: true,
		Unpack: func(data []byte, yield func([]byte)) error {
			if err := unpack.Expand(data, unpack.Limits{Bytes: maxExpanded}, yield); !damaged(err) {
				return err
			}
			return nil // it only began like compressed data
		},
	})
}

// shapes are the built-in ones, which are loaded when the first text is looked at, and the operator's.
type shapes struct{ own *shape.Rules }

// Find implements scan.Shapes.
func (s shapes) Find(text []byte, report func(rule string, start, end int)) {
	var few [8]shape.Match
	found := shape.Default().Find(few[:0], text)
	if s.own != nil {
		found = s.own.Find(found, text)
	}
	for _, m := range found {
		report(m.Rule, m.SecretStart, m.SecretEnd)
	}
}
