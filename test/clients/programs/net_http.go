// net/http with its default client, with nothing said about a proxy.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
)

// One line: what was done, the status, and the hash of the body that came back.
func call(what string, method string, url string, body io.Reader) {
	request, err := http.NewRequest(method, url, body)
	if err != nil {
		log.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s %d %x\n", what, response.StatusCode, sha256.Sum256(answer))
}

func main() {
	governed, blind, plain, path := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	content, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		log.Fatal(err)
	}
	call("get", "GET", governed+"/bytes", nil)
	call("post", "POST", governed+"/echo", bytes.NewReader(content))
	call("stream", "POST", governed+"/echo", file)
	call("plain", "GET", plain+"/bytes", nil)
	call("blind", "GET", blind+"/bytes", nil)
}
