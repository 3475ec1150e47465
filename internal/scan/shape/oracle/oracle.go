// Package oracle holds shape to gitleaks: the same rules over the same text by gitleaks' own
// detector. It is a module of its own so that gitleaks is a dependency of this test alone.
package oracle
