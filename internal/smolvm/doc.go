// Package smolvm drives the smolvm program, which runs microVMs: it starts it for one question at a
// time, with an environment and a data folder of ours, and reads exit codes and JSON alone.
//
// What it relies on is smolvm's command line since version 1.9.0. A machine made here never has a
// network device: no option for one is ever passed. What a machine is instead of what was asked for
// is for the caller to look at (Status); what its artifact says, ReadArtifact tells.
package smolvm
