// Package guest is cork's side of a bottle whose system somebody else makes: an engine's container, a
// machine's guest. It knows the line to the holder, which may carry descriptors (a unix socket of the
// same kernel) or bytes alone, and the report that is the first thing on it.
package guest
