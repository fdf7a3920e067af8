// Package suite names the module whose own tests are run.
package suite

import _ "github.com/twmb/franz-go/pkg/kgo"
