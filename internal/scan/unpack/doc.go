// Package unpack turns what a program uploads into the texts a scanner looks at: it undoes content
// codings (Decoder), opens archives (Walk, Walker) and takes structured bodies apart (Splitter,
// Fields). Everything streams: memory is bounded by Limits and by constants here, never by the
// body, and the time by the bytes read and the decoded bytes Limits allows.
//
// All input is hostile. What can't be looked into is an error of a type of its own, so that a
// caller can refuse it: UnknownError for a coding, BombError for what passes a limit, OpaqueError
// for the encrypted, the unsupported and the damaged. Parsers of structured text refuse nothing:
// what is no JSON is still cut into pieces, and no byte but separators is left out.
//
// What a coding carries beside its data, such as the file name in a gzip header or a skippable
// zstd frame, is in no decoded text. It stands in the coded bytes as it is: who must see it scans
// them too.
package unpack
