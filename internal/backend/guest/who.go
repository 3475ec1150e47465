package guest

import "errors"

// Who are the ids of a bottle's processes, as its system has them. Cork's group is as its user.
type Who struct{ Cork, UID, GID int }

// Check refuses ids of root, and an agent that is cork.
func (w Who) Check() error {
	if w.Cork == 0 || w.UID == 0 || w.GID == 0 || w.Cork == w.UID {
		return errors.New("cork and the agent need ids of their own, and neither may be root")
	}
	return nil
}
