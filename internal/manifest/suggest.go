package manifest

import "strings"

// Nearest returns the candidate that s was probably meant to be, or "" when none is near: at most
// one edit (insertion, removal, change, swap of neighbours) for every three bytes of s, at least
// one and at most three.
func Nearest(s string, candidates []string) string {
	if s == "" || len(s) > 64 {
		return ""
	}
	best, bestAt := "", min(3, max(1, len(s)/3))+1
	for _, c := range candidates {
		if d := distance(strings.ToLower(s), strings.ToLower(c)); d < bestAt {
			best, bestAt = c, d
		}
	}
	return best
}

// distance counts the edits between a and b (optimal string alignment).
func distance(a, b string) int {
	older, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			change := prev[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], older[j-2]+1)
			}
		}
		older, prev, cur = prev, cur, older
	}
	return prev[len(b)]
}

// choices is the sentence after an unknown word: the nearest one and all there are, led in by
// label ("accepted", "there is").
func choices(word string, known []string, label string) string {
	list := label + ": " + strings.Join(known, ", ")
	if len(known) == 0 {
		list = label + " none"
	}
	if near := Nearest(word, known); near != "" && near != word {
		return "did you mean \"" + near + "\"? " + list
	}
	return list
}
