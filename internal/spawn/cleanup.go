package spawn

import "errors"

// Cleanup is a stack of undo steps. The undo of a resource is pushed before the resource is made
// where that is possible, and right after it otherwise, so that an error or a panic between the
// two can leave nothing behind. The zero Cleanup is ready; it is not safe for concurrent use.
type Cleanup struct{ undo []func() error }

// Add pushes one step. Steps must tolerate a resource that was never made.
func (c *Cleanup) Add(f func() error) { c.undo = append(c.undo, f) }

// Len is how many steps there are, for RunTo.
func (c *Cleanup) Len() int { return len(c.undo) }

// Run undoes everything in reverse order and joins the errors. Running it again does nothing.
func (c *Cleanup) Run() error { return c.RunTo(0) }

// RunTo is Run for all but the first n steps, which stay.
func (c *Cleanup) RunTo(n int) error {
	var errs []error
	for len(c.undo) > n {
		last := len(c.undo) - 1
		f := c.undo[last]
		c.undo = c.undo[:last]
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}
