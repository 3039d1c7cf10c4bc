// An identity provider nobody here wrote (github.com/crewjam/saml/samlidp) as it is without settings: it signs with
// RSA-SHA1, which nobody should believe.
//
//	idp -address 127.0.0.1:PORT -url http://crewjam.localhost:PORT
//
// Prints one line, `ready URL`, when it listens; ends when its standard input ends, so it never outlives its test.
// People are put with PUT /users/NAME, service providers with PUT /services/NAME (their metadata), what it starts by
// itself with PUT /shortcuts/NAME.
package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"flag"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/crewjam/saml/samlidp"
)

func main() {
	address := flag.String("address", "127.0.0.1:0", "where it listens")
	name := flag.String("url", "", "what it calls itself")
	flag.Parse()
	self, err := url.Parse(*name)
	check(err)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	check(err)
	provider, err := samlidp.New(samlidp.Options{
		URL: *self, Key: key, Certificate: certificate(key), Store: &samlidp.MemoryStore{},
		// Its own choice is standard output, where nobody reads on: the first line would end the program.
		Logger: log.New(os.Stderr, "", log.LstdFlags),
	})
	check(err)
	listener, err := net.Listen("tcp", *address)
	check(err)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Println("ready", self)
	check(http.Serve(listener, provider))
}

func certificate(key *rsa.PrivateKey) *x509.Certificate {
	now := time.Now()
	form := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rig"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, form, form, key.Public(), key)
	check(err)
	made, err := x509.ParseCertificate(der)
	check(err)
	return made
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
