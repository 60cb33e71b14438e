// A Go client that does what it is told: client URL. See tests/tests/it/sdks.rs, and ../../drive.py for the commands.
package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// bearer is a token, sent with every request.
type bearer string

func (token bearer) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("Authorization", "Bearer "+string(token))
	return http.DefaultTransport.RoundTrip(request)
}

func connect(ctx context.Context, url, token string) (*mcp.ClientSession, error) {
	client := mcp.NewClient(&mcp.Implementation{Name: "interop", Version: "1.0.0"}, nil)
	transport := &mcp.StreamableClientTransport{Endpoint: url, HTTPClient: &http.Client{Transport: bearer(token)}}
	session, err := client.Connect(ctx, transport, nil)
	if err != nil {
		return nil, err
	}
	_, err = session.ListTools(ctx, nil)
	return session, err
}

func main() {
	ctx := context.Background()
	var session *mcp.ClientSession
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var err error
		if token, found := strings.CutPrefix(lines.Text(), "connect "); found {
			session, err = connect(ctx, os.Args[1], token)
		} else {
			_, err = session.CallTool(ctx, &mcp.CallToolParams{Name: "echo", Arguments: map[string]any{"message": "hi"}})
		}
		if err == nil {
			fmt.Println("ok")
		} else {
			fmt.Println("error", strings.Join(strings.Fields(err.Error()), " "))
		}
	}
}
