package manifest

// GitUser is the identity git in a bottle claims, each field with where it was declared: "agent"
// or "bottle".
type GitUser struct {
	Name, NameFrom   string
	Email, EmailFrom string
}

// over returns g with the declared fields of child laid over it.
func (g GitUser) over(child GitUser) GitUser {
	if child.Name != "" {
		g.Name, g.NameFrom = child.Name, child.NameFrom
	}
	if child.Email != "" {
		g.Email, g.EmailFrom = child.Email, child.EmailFrom
	}
	return g
}

// identity gives the declared fields their provenance.
func (u userKeys) identity(from string) GitUser {
	var g GitUser
	if u.Name != "" {
		g.Name, g.NameFrom = string(u.Name), from
	}
	if u.Email != "" {
		g.Email, g.EmailFrom = string(u.Email), from
	}
	return g
}
