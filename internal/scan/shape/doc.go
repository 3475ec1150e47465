// Package shape finds credentials by what they look like: the rules of gitleaks
// (https://github.com/gitleaks/gitleaks, MIT: see rules_gen.go), kept as data and run by an engine of
// our own, and rules for what gitleaks has no word for (rules/own.toml). An operator's rules come in
// gitleaks' format.
//
//	rules := shape.Default()
//	for _, m := range rules.Find(nil, text) {
//		fmt.Println(m.Rule, m.SecretEnd-m.SecretStart) // never the text itself
//	}
//
// # How it works
//
// The analysis of a rule's expression (analyse.go) yields strings of which every match begins with
// one, or holds one. It is done when rules_gen.go is generated, so the program's start pays nothing
// for the rules; expressions are compiled when text first holds one of their strings.
//
// One pass over the text finds all the strings of all rules (literal.go), and at each place an
// automaton built as it goes (dfa.go) says whether a match begins there and where it ends. Few places
// get further than some bytes. The regexp package is asked only about what matched, for its groups.
// Rules whose strings stand inside a match are searched for in a window around it as wide as their
// longest match, and the few without any, such as a bare run of 40 hex digits, near such runs, in text
// that holds one of the rule's keywords.
//
// A match is then judged as gitleaks judges it: entropy of the secret, the allowances for all rules and
// the rule's own, and a generic rule's finding gives way to a better one on its line.
//
// # Where findings differ from gitleaks'
//
// The module in oracle/ compares the two. On the same text they are the same but for these, where
// gitleaks lets pass what an agent could arrange:
//
//   - The words gitleaks:allow in a line are text like any other.
//   - Allowlists of paths and commits allow nothing, there being neither here. An allowlist that needs
//     a path and something else allows nothing either. Lines of a go.sum, which gitleaks skips by the
//     file's name, are told by their look instead.
//   - (?i)^true|false|null$ allows a secret that is one of these words, not one that begins with true,
//     ends in null or has false in it.
//   - The stopwords for all rules count where they are nearly all of a secret: the alphabet put
//     behind a real token does not hide it.
//   - An allowlist about a line sees 512 bytes of it on either side of the match.
//   - No more than 64 findings on either side are asked whether one says better what a generic one says,
//     and a rule of ours may be what says it better.
//   - The secret of microsoft-teams-webhook and jwt-base64 is all of the match, where gitleaks reports the
//     part that the first group holds.
//   - A search has no deadline: there is no half of the findings without an error.
//
// Not carried over: the rules about files of a certain name (freemius-secret-key,
// hashicorp-tf-password, kubernetes-secret-yaml, nuget-config-password, pkcs12-file), which are silent
// without one in gitleaks too. In an operator's file such a rule looks at all text. Two more
// differences are limits: a match ends MaxWindow after the string it was found by (it is cut there
// where the expression allows, else private-key-header finds its beginning), and a rule is not looked for by spellings
// of its name with a long s (U+017F) or a Kelvin sign (U+212A). Decoding what is encoded is the caller's matter.
//
// # Placeholders
//
// What a bottle holds instead of a credential has "bottle-placeholder-" in it and is never a
// finding: at most 20 characters before those words and 64 behind. A token with the words put into it
// elsewhere is one.
package shape
