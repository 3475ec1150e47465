package engine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/claude-bottle/claude-bottle/internal/inert"
)

// dialer makes the connections to one engine. TLS is done here and not in the HTTP client, so that
// a connection that is taken over (attach, exec, build sessions) goes exactly the same way.
type dialer struct {
	where Where
	addr  address
	tls   *tls.Config // nil without

	mu      sync.Mutex
	settled bool             // Connect is through
	failure *Error           // the first one before that
	open    map[*tunnel]bool // ssh processes
	closed  bool
}

// newDialer reads the TLS files.
func newDialer(w Where) (*dialer, error) {
	a, err := parseAddress(w.Host, w.TLS != nil)
	if err != nil {
		return nil, &Error{Reason: BadSetting, text: err.Error(), hint: "see which engines docker knows with: docker context ls"}
	}
	d := &dialer{where: w, addr: a, open: map[*tunnel]bool{}}
	if w.TLS == nil || a.scheme != "tcp" {
		return d, nil
	}
	if d.tls, err = tlsConfig(*w.TLS, a.host); err != nil {
		return nil, tlsError(w, err.Error())
	}
	return d, nil
}

func tlsConfig(files TLSFiles, host string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, InsecureSkipVerify: files.SkipVerify}
	if files.CA != "" {
		pem, err := readFile(files.CA)
		if err != nil {
			return nil, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", files.CA)
		}
	}
	if files.Cert == "" && files.Key == "" {
		return c, nil
	}
	cert, err := readFile(files.Cert)
	if err != nil {
		return nil, fmt.Errorf("our certificate: %w", err)
	}
	key, err := readFile(files.Key)
	if err != nil {
		return nil, fmt.Errorf("our key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s: %w", files.Cert, files.Key, err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

// tlsError is the error of a connection that could not be made private.
func tlsError(w Where, text string) *Error {
	e := &Error{Reason: TLSFailed, Where: w, text: "TLS: " + inert.Text(text, 0)}
	switch {
	case w.TLS == nil:
		e.hint = "the engine wants TLS: export DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH=folder of ca.pem, cert.pem and key.pem"
	case w.From == "DOCKER_HOST" || w.From == "default":
		e.hint = "check ca.pem, cert.pem and key.pem in DOCKER_CERT_PATH (~/.docker by default)"
	default:
		e.hint = "check the files that this shows: docker context inspect"
	}
	return e
}

// dial makes one connection. Errors are *Error, or ctx's cause.
func (d *dialer) dial(ctx context.Context) (net.Conn, error) {
	d.mu.Lock()
	failure, gone := d.failure, d.closed
	d.mu.Unlock()
	if gone {
		return nil, net.ErrClosed
	}
	if failure != nil {
		return nil, failure // the HTTP client asks twice, which can cost seconds and tells no more
	}
	conn, err := d.connect(ctx)
	if err == nil {
		return conn, nil
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	d.note(err)
	return nil, err
}

func (d *dialer) connect(ctx context.Context) (net.Conn, error) {
	var dial net.Dialer
	switch d.addr.scheme {
	case "unix":
		conn, err := dial.DialContext(ctx, "unix", d.addr.path)
		if err != nil {
			return nil, d.refused(err)
		}
		return conn, nil
	case "ssh":
		return d.tunnel()
	}
	conn, err := dial.DialContext(ctx, "tcp", net.JoinHostPort(d.addr.host, d.addr.port))
	if err != nil {
		return nil, d.refused(err)
	}
	if d.tls == nil {
		return conn, nil
	}
	secure := tls.Client(conn, d.tls)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // nothing was sent on it
		return nil, tlsError(d.where, err.Error())
	}
	return secure, nil
}

// refused words an error of a connection that was not made.
func (d *dialer) refused(err error) *Error {
	switch {
	case errors.Is(err, fs.ErrPermission) && d.addr.scheme == "unix":
		info, err := os.Stat(d.addr.path)
		if err != nil {
			info = nil
		}
		return denied(d.where, info)
	case errors.Is(err, fs.ErrNotExist):
		return notRunning(d.where, "there is no such socket")
	case errors.Is(err, syscall.ECONNREFUSED):
		return notRunning(d.where, "nothing listens there")
	}
	return notRunning(d.where, inert.Text(err.Error(), 0))
}

// note keeps the first failure for Connect: the HTTP client replaces some by words of its own.
func (d *dialer) note(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e, ok := errors.AsType[*Error](err); ok && !d.settled && d.failure == nil {
		d.failure = e
	}
}

// failed is the failure that was noted, nil when none was.
func (d *dialer) failed() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failure == nil {
		return nil
	}
	return d.failure
}

// settle ends the noting: an engine that was reached may fail and come back.
func (d *dialer) settle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settled, d.failure = true, nil
}

// close ends every ssh process and waits for it; nothing is dialled any more.
func (d *dialer) close() {
	d.mu.Lock()
	d.closed = true
	open := make([]*tunnel, 0, len(d.open))
	for t := range d.open {
		open = append(open, t)
	}
	d.mu.Unlock()
	for _, t := range open {
		_ = t.Close() // its process was killed: there is nothing to tell
	}
}
