package inspect

import (
	"bytes"
	"regexp"
	"sync"
)

// orders are phrases that speak to a model and not to a reader. They are few and plain, because what
// they find is a hint: wording can't tell an attack from an essay about attacks.
var orders = sync.OnceValue(func() []order {
	return []order{
		{"ignore", regexp.MustCompile(`\bignore (?:all |any |the |your |every )*(?:of the |of your )?(?:previous|prior|above|earlier|preceding|other|system|original)[a-z ]{0,20}(?:instruction|prompt|rule|direction|guideline|message)`)},
		{"disregard", regexp.MustCompile(`\bdisregard (?:all |any |the |your |every )*(?:of the |of your )?(?:previous|prior|above|earlier|preceding|other|system|original)[a-z ]{0,20}(?:instruction|prompt|rule|direction|guideline|message)`)},
		{"forget", regexp.MustCompile(`\bforget (?:all |any |everything )*(?:of |about )?(?:the |your )?(?:previous|prior|above|earlier|system|original)[a-z ]{0,20}(?:instruction|prompt|rule|direction|guideline|message)`)},
		{"the user", regexp.MustCompile(`\b(?:do not|don't|never|without) (?:tell|telling|inform|informing|mention (?:this|it) to|mentioning (?:this|it) to|alert|alerting|ask|asking|notify|notifying) the user\b`)},
		{"you are now", regexp.MustCompile(`\byou are now (?:in |an? |the )?(?:[a-z-]+ ){0,2}(?:mode|dan|jailbroken|unrestricted|administrator|root)\b`)},
		{"new instructions", regexp.MustCompile(`\bnew instructions?(?: for (?:the )?(?:assistant|agent|model|ai))?:`)},
		{"<|im_start|>", nil}, {"<|system|>", nil}, {"[/inst]", nil}, {"<<sys>>", nil},
	}
})

// order is a phrase: a word that must be there, lower case, and what the words around it must be;
// nil when the word tells enough.
type order struct {
	word   string
	phrase *regexp.Regexp
}

// reach is how far around its word a phrase is looked for, in bytes; texts that pass in pieces
// overlap by as much.
const reach = 160

// ordered returns the word of the first order in b; empty for none.
func ordered(b []byte) string {
	lower := bytes.ToLower(b)
	for _, o := range orders() {
		for from := 0; ; {
			i := bytes.Index(lower[from:], []byte(o.word))
			if i < 0 {
				break
			}
			at := from + i
			if o.phrase == nil || o.phrase.Match(spaced(lower[max(0, at-reach):min(len(lower), at+len(o.word)+reach)])) {
				return o.word
			}
			from = at + len(o.word)
		}
	}
	return ""
}

var blanks = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[\s*_>#]+`) })

// spaced makes one space of what separates words in a text, and of the marks of its layout.
func spaced(b []byte) []byte { return blanks().ReplaceAll(b, []byte(" ")) }
