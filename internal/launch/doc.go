// Package launch turns a Plan into a running bottle and keeps it until its end. It has two halves
// that meet on a pipe: Spawn, in the command the operator typed, makes the state folder and starts
// the warden process; WardenMain, in that process, brings the bottle up, proves it sealed, runs the
// agent, and takes everything down again in reverse order. The command may die at any moment; the
// bottle does not notice. When the warden dies, the bottle dies with it.
package launch
