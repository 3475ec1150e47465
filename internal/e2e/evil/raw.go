//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// talk is what a raw exchange came to.
type talk struct {
	Connected bool   `json:"connected"`
	Data      string `json:"data"`
	Error     string `json:"error"`
	Millis    int64  `json:"ms"`
}

// rawTCP connects, sends each argument (Go escapes are understood) and reads to the end, or so many
// bytes, or as long as there is time.
func rawTCP(args []string) (any, error) {
	f := flag.NewFlagSet("tcp", flag.ContinueOnError)
	wait := f.Duration("timeout", patience, "")
	most := f.Int("bytes", 64<<10, "how many to read")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	return exchange("tcp", f.Arg(0), f.Args()[1:], *wait, *most)
}

// rawUDP sends a datagram and waits for one.
func rawUDP(args []string) (any, error) {
	f := flag.NewFlagSet("udp", flag.ContinueOnError)
	wait := f.Duration("timeout", patience, "")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	return exchange("udp", f.Arg(0), f.Args()[1:], *wait, 64<<10)
}

func exchange(network, addr string, parts []string, wait time.Duration, most int) (any, error) {
	began := time.Now()
	var t talk
	c, err := net.DialTimeout(network, addr, wait)
	if err != nil {
		t.Error, t.Millis = err.Error(), time.Since(began).Milliseconds()
		return t, nil
	}
	defer c.Close()
	t.Connected = true
	_ = c.SetDeadline(began.Add(wait)) // a dead one fails below
	for _, p := range parts {
		text, err := strconv.Unquote(`"` + p + `"`)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", p, err)
		}
		if _, err := c.Write([]byte(text)); err != nil {
			t.Error = err.Error()
			break
		}
	}
	buf := make([]byte, 0, most)
	for len(buf) < cap(buf) {
		n, err := c.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Error = err.Error()
			}
			break
		}
		if network == "udp" {
			break
		}
	}
	t.Data, t.Millis = string(buf), time.Since(began).Milliseconds()
	return t, nil
}

// resolution is a name server's answer.
type resolution struct {
	RCode     string   `json:"rcode"`
	Addresses []string `json:"addresses"`
	Error     string   `json:"error"`
}

// query asks a name server, over UDP or TCP: server:port, name, type.
func query(args []string) (any, error) {
	f := flag.NewFlagSet("dns", flag.ContinueOnError)
	tcp := f.Bool("tcp", false, "")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	kinds := map[string]dnsmessage.Type{"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "TXT": dnsmessage.TypeTXT, "MX": dnsmessage.TypeMX, "HTTPS": 65, "NULL": 10}
	name, err := dnsmessage.NewName(strings.TrimSuffix(f.Arg(1), ".") + ".")
	if err != nil {
		return nil, err
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: uint16(os.Getpid()), RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: name, Type: kinds[f.Arg(2)], Class: dnsmessage.ClassINET}},
	}
	b, err := m.Pack()
	if err != nil {
		return nil, err
	}
	network := "udp"
	if *tcp {
		network, b = "tcp", append([]byte{byte(len(b) >> 8), byte(len(b))}, b...)
	}
	c, err := net.DialTimeout(network, f.Arg(0), patience)
	if err != nil {
		return resolution{Error: err.Error()}, nil
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience)) // a dead one fails below
	if _, err := c.Write(b); err != nil {
		return resolution{Error: err.Error()}, nil
	}
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	if err != nil {
		return resolution{Error: err.Error()}, nil
	}
	if *tcp && n > 2 {
		buf, n = buf[2:], n-2
	}
	if err := m.Unpack(buf[:n]); err != nil {
		return resolution{Error: fmt.Sprintf("%v: %q", err, buf[:min(n, 100)])}, nil
	}
	r := resolution{RCode: strings.TrimPrefix(m.RCode.String(), "RCode")}
	for _, a := range m.Answers {
		r.Addresses = append(r.Addresses, a.Body.GoString())
	}
	return r, nil
}

// lookup resolves as a program does that knows nothing of proxies.
func lookup(args []string) (any, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupHost(ctx, args[0])
	return resolution{Addresses: addrs, Error: errText(err)}, nil
}

// dialUnix connects to unix sockets, each of both kinds: "path" or "@abstract".
func dialUnix(args []string) (any, error) {
	out := map[string]string{}
	for _, name := range args {
		for _, kind := range []string{"unix", "unixgram"} {
			c, err := net.Dial(kind, name)
			if err == nil {
				_, err = c.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
				_ = c.Close() // it was only to be reached
				if err == nil {
					out[kind+" "+name] = "connected"
					continue
				}
			}
			out[kind+" "+name] = err.Error()
		}
	}
	return out, nil
}

// abstractNames are the unix sockets the kernel shows here.
func abstractNames([]string) (any, error) {
	b, err := os.ReadFile("/proc/net/unix")
	return map[string]string{"sockets": string(b), "error": errText(err)}, nil
}

// relay listens on its first argument and carries what comes to the proxy, the way a tool in the
// bottle could launder where requests come from. It ends with its standard input.
func relay(args []string) (any, error) {
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				up, err := net.Dial("tcp", proxyAddr)
				if err != nil {
					return
				}
				defer up.Close()
				go func() { _, _ = io.Copy(up, c) }() // ends with the connections
				_, _ = io.Copy(c, up)                 // the same
			}()
		}
	}()
	time.Sleep(args2duration(args))
	return nil, l.Close()
}

// listen opens unix sockets of its own for a while, the last argument.
func listen(args []string) (any, error) {
	for _, name := range args[:len(args)-1] {
		l, err := net.Listen("unix", name)
		if err != nil {
			return nil, err
		}
		defer l.Close()
	}
	time.Sleep(args2duration(args))
	return nil, nil
}

func args2duration(args []string) time.Duration {
	d, err := time.ParseDuration(args[len(args)-1])
	if err != nil {
		return time.Second
	}
	return d
}
