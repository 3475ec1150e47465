package wire

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// waysOver serves loopback sockets as a bottle's ways out and returns both ends of each.
func waysOver(t *testing.T) (Ways, net.Addr, net.Addr, net.Addr) {
	t.Helper()
	warden, cork := pair(t)
	w := WaysOver(warden)
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	proxy, anyway := listen(), listen()
	dns, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := ServeWays(ctx, cork, proxy, anyway, dns); !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait(); w.Close() })
	return w, proxy.Addr(), anyway.Addr(), dns.LocalAddr()
}

func TestConnectionsCrossTheWireWithTheirDestination(t *testing.T) {
	t.Parallel()
	w, proxy, anyway, _ := waysOver(t)
	for _, way := range []struct {
		l    net.Listener
		at   net.Addr
		dest string
	}{{w.Proxy, proxy, ""}, {w.Any, anyway, anyway.String()}} {
		c, err := net.Dial("tcp", way.at.String())
		if err != nil {
			t.Fatal(err)
		}
		big := strings.Repeat("x", 1<<20)
		go func() {
			_, _ = io.WriteString(c, big)
			_ = c.(*net.TCPConn).CloseWrite()
		}()
		got, err := way.l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if d, ok := got.(Destined); ok != (way.dest != "") || ok && d.Destination() != netip.MustParseAddrPort(way.dest) {
			t.Errorf("destination is told: %v, %v", ok, d)
		}
		if b, err := io.ReadAll(got); string(b) != big || err != nil {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		_, _ = io.WriteString(got, "answer")
		_ = got.Close()
		if b, err := io.ReadAll(c); string(b) != "answer" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		_ = c.Close()
	}
}

func TestBrokenStreamBreaksTheConnection(t *testing.T) {
	t.Parallel()
	w, proxy, _, _ := waysOver(t)
	c, err := net.Dial("tcp", proxy.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := w.Proxy.Accept()
	if err != nil {
		t.Fatal(err)
	}
	got.(*Stream).Reset("denied")
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.ReadAll(c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the program is left waiting")
	}
}

func TestDatagramsGoBackToWhoAsked(t *testing.T) {
	t.Parallel()
	w, _, _, dns := waysOver(t)
	var clients []net.Conn
	for range 3 {
		c, err := net.Dial("udp", dns.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients = append(clients, c)
		_, _ = io.WriteString(c, "who "+c.LocalAddr().String())
	}
	buf := make([]byte, 100)
	for range clients {
		n, from, err := w.DNS.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.DNS.WriteTo(buf[4:n], from); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range clients {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := c.Read(buf)
		if string(buf[:n]) != c.LocalAddr().String() || err != nil {
			t.Errorf("%s was answered %q, %v", c.LocalAddr(), buf[:n], err)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, _, err := w.DNS.ReadFrom(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
	})
	_ = w.DNS.SetReadDeadline(time.Now())
	wg.Wait()
	if _, err := w.DNS.WriteTo(nil, &net.UDPAddr{}); err == nil {
		t.Error("a datagram went to an address of the host")
	}
}

func TestConnectionWithoutADestinationIsRefused(t *testing.T) {
	t.Parallel()
	warden, cork := pair(t)
	w := WaysOver(warden)
	defer w.Close()
	for _, header := range []any{nil, map[string]string{"to": "c2.test:80"}, map[string]string{}, []int{1}} {
		st := open(t, cork, KindAny, header)
		var re *ResetError
		if _, err := st.Read(make([]byte, 1)); !errors.As(err, &re) {
			t.Errorf("%v: %v", header, err)
		}
	}
}

func TestUnacceptedConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	warden, cork := pair(t)
	w := WaysOver(warden)
	defer w.Close()
	refused := make(chan error, waysBacklog+1)
	for range waysBacklog + 1 {
		st := open(t, cork, KindProxy, nil)
		go func() {
			_, err := st.Read(make([]byte, 1))
			refused <- err
		}()
	}
	if err := <-refused; !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestNamesHaveARangeOfTheirOwnInEachKindOfNetwork(t *testing.T) {
	t.Parallel()
	wide, narrow := NamePool(false), NamePool(true)
	if wide.String() != "198.18.0.0/15" || narrow.String() != "127.18.0.0/15" {
		t.Errorf("names are in %s, or in %s", wide, narrow)
	}
	if wide.Bits() != narrow.Bits() || wide.Overlaps(narrow) {
		t.Errorf("%s and %s are not two ranges of one size", wide, narrow)
	}
	if !netip.MustParsePrefix("127.0.0.0/8").Contains(narrow.Addr()) {
		t.Errorf("%s can't be dialled where there is loopback alone", narrow)
	}
	for _, servers := range []string{"127.0.0.1", "127.0.0.53", "127.0.1.1"} { // where programs listen themselves
		if narrow.Contains(netip.MustParseAddr(servers)) {
			t.Errorf("%s is a name's", servers)
		}
	}
}

func TestWaysThatWereClosedSaySo(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(Ways, *Session){
		"closed":                        func(w Ways, _ *Session) { w.Close() },
		"closed twice":                  func(w Ways, _ *Session) { w.Close(); w.Close() },
		"closed, then the wire's end":   func(w Ways, s *Session) { w.Close(); _ = s.Close(); <-s.Done() },
		"the wire's end, and closed":    func(w Ways, s *Session) { _ = s.Close(); <-s.Done(); w.Close() },
		"the wire's end, though closed": func(w Ways, s *Session) { w.Close(); _ = s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			warden, _ := pair(t)
			w := WaysOver(warden)
			end(w, warden)
			for range 50 { // also when the wire has ended, whichever is seen first
				for way, l := range map[string]net.Listener{"proxy": w.Proxy, "any": w.Any} {
					if c, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
						t.Fatalf("%s: accepted %v, %v", way, c, err)
					}
				}
				if _, _, err := w.DNS.ReadFrom(make([]byte, 10)); !errors.Is(err, net.ErrClosed) {
					t.Fatalf("datagrams: %v", err)
				}
			}
		})
	}
}

func TestWaysOfAWireThatEndedTellWhy(t *testing.T) {
	t.Parallel()
	warden, cork := pair(t)
	w := WaysOver(warden)
	defer w.Close()
	accepted := make(chan error, 2)
	for _, l := range []net.Listener{w.Proxy, w.Any} {
		go func() {
			_, err := l.Accept()
			accepted <- err
		}()
	}
	_ = cork.Close()
	for range 2 {
		if err := <-accepted; err == nil || errors.Is(err, net.ErrClosed) {
			t.Errorf("accept ended with %v", err)
		}
	}
}

func TestAClosedWayEndsWhoWaitsAtItAndTakesNobodyIn(t *testing.T) {
	t.Parallel()
	warden, cork := pair(t)
	w := WaysOver(warden)
	accepted := make(chan error, 1)
	go func() {
		_, err := w.Proxy.Accept()
		accepted <- err
	}()
	w.Close()
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("who waited was told %v", err)
	}
	st := open(t, cork, KindProxy, nil)
	if _, err := st.Read(make([]byte, 1)); err == nil {
		t.Error("a connection to a closed way is left waiting")
	}
}

// Whoever answers before it was told everything, and hangs up, is heard: a server that refuses a
// request does so while its body is still coming.
func TestAnswersOutliveWhatNobodyReadsAnyMore(t *testing.T) {
	t.Parallel()
	w, proxy, _, _ := waysOver(t)
	for range 50 {
		c, err := net.Dial("tcp", proxy.String())
		if err != nil {
			t.Fatal(err)
		}
		telling := make(chan struct{})
		go func() {
			defer close(telling)
			for {
				if _, err := c.Write(make([]byte, 1000)); err != nil {
					return // the other side hung up
				}
			}
		}()
		in, err := w.Proxy.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(in, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(in, "refused"); err != nil {
			t.Fatal(err)
		}
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
		if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len("refused"))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "refused" {
			t.Fatalf("%q, %v", got, err)
		}
		_ = c.Close() // it was heard
		<-telling
	}
}
