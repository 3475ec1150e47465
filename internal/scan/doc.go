// Package scan finds secrets in what a bottle sends, whatever they are disguised as: the values it is
// given, and text in the shape of credentials.
//
// # What is found
//
// A known value is found as it is, in any case, with separators, line breaks or invisible characters
// in it; in base64 (each alphabet, any alignment, with or without padding, in lines), base32, hex (with
// separators or \x), percent, \u, octal and HTML escapes (nested up to ten times), quoted-printable,
// UTF-16, rotated by 13, backwards, in fullwidth and other lookalike letters, and as a list of numbers;
// and in two, nearly always three, of these inside each other. Of a value of 24 bytes or more an eighth
// may be missing. Joined finds what is split over the values of one request, a Stream what is split over
// writes, and a Memory what leaves in parts over many requests.
//
// # What is not
//
// Separators put into text that is already escaped (the bytes of "%41", spread out) hide it, and so do
// escapes rotated by 13 of what was encoded before; separators at distances that vary or exceed four
// hide what has two more layers. A cipher hides everything. Quoted-printable right after an equals sign
// may lose its first byte, which a value of 24 bytes can spare. Values under six bytes are not looked
// for, nor are values under sixteen by a Memory. A byte budget for each host is what remains against the
// rest.
//
// # How
//
// Package known's matcher reads every text once, and says of each 32 bytes what they are made of. Only
// where that calls for it is a text decoded, by package decode, and what comes out looked at the same
// way. Work is bounded by a multiple of the input: a text that would need more is reported as Exhausted,
// which callers must treat as a secret.
package scan
