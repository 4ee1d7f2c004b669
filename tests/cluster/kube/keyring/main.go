// The kubelet's own code between its CredentialProviderConfig and the credentials of a pull. It reads one
// job on stdin and prints what a kubelet would do: refuse to start, or try these credentials in this order.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gates "k8s.io/apiserver/pkg/util/feature"
	"k8s.io/kubernetes/pkg/credentialprovider/plugin"
	"k8s.io/kubernetes/pkg/features"
)

// What a kubelet is started with, and what it then pulls.
type job struct {
	// --image-credential-provider-config
	Config string `json:"config"`
	// --image-credential-provider-bin-dir
	BinDir string `json:"binDir"`
	// Whether the feature gate for tokenAttributes is off.
	WithoutTokens bool   `json:"withoutTokens"`
	Pulls         []pull `json:"pulls"`
}

type pull struct {
	Image   string   `json:"image"`
	Account *account `json:"account"`
}

// The ServiceAccount of the pod, and the token that the API server gives for it, per audience.
type account struct {
	Namespace   string            `json:"namespace"`
	Name        string            `json:"name"`
	UID         string            `json:"uid"`
	Annotations map[string]string `json:"annotations"`
	Tokens      map[string]string `json:"tokens"`
}

type login struct {
	Username string `json:"username"`
	Password string `json:"password"`
}

type report struct {
	// Why the kubelet does not start.
	Refused string `json:"refused,omitempty"`
	// Per pull, in the order in which they are tried.
	Logins [][]login `json:"logins"`
}

// The API server, as far as ServiceAccounts go. Pulls come one after the other.
type server struct{ account *account }

func main() {
	var asked job
	input := json.NewDecoder(os.Stdin)
	input.DisallowUnknownFields()
	if err := input.Decode(&asked); err != nil {
		fail(err)
	}
	answer, err := asked.run()
	if err != nil {
		fail(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func (j job) run() (report, error) {
	gate := fmt.Sprintf("%s=%t", features.KubeletServiceAccountTokenForCredentialProviders, !j.WithoutTokens)
	if err := gates.DefaultMutableFeatureGate.Set(gate); err != nil {
		return report{}, err
	}
	api := &server{}
	if err := plugin.RegisterCredentialProviderPlugins(j.Config, j.BinDir, api.token, api.get); err != nil {
		return report{Refused: err.Error()}, nil
	}
	answer := report{}
	for _, wanted := range j.Pulls {
		answer.Logins = append(answer.Logins, api.pull(wanted))
	}
	return answer, nil
}

func (s *server) pull(wanted pull) []login {
	s.account = wanted.Account
	namespace, name := "default", ""
	if wanted.Account != nil {
		namespace, name = wanted.Account.Namespace, wanted.Account.Name
	}
	keyring := plugin.NewExternalCredentialProviderDockerKeyring(namespace, "pod", "uid-of-pod", name)
	found, _ := keyring.Lookup(wanted.Image)
	logins := []login{}
	for _, credential := range found {
		logins = append(logins, login{credential.Username, credential.Password})
	}
	return logins
}

func (s *server) get(namespace, name string) (*core.ServiceAccount, error) {
	if s.account == nil || s.account.Namespace != namespace || s.account.Name != name {
		return nil, fmt.Errorf("there is no ServiceAccount %s/%s", namespace, name)
	}
	object := meta.ObjectMeta{
		Namespace: namespace, Name: name, UID: types.UID(s.account.UID), Annotations: s.account.Annotations,
	}
	return &core.ServiceAccount{ObjectMeta: object}, nil
}

func (s *server) token(namespace, name string, wanted *authentication.TokenRequest) (*authentication.TokenRequest, error) {
	for _, audience := range wanted.Spec.Audiences {
		if token := s.account.Tokens[audience]; token != "" {
			wanted.Status.Token = token
			return wanted, nil
		}
	}
	return nil, fmt.Errorf("%s/%s may have no token for %v", namespace, name, wanted.Spec.Audiences)
}
