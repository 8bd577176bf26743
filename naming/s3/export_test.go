package s3

import sdk "github.com/aws/aws-sdk-go-v2/service/s3"

// Connect is the SDK's client for a store, for what is measured against it.
func Connect(st Store) *sdk.Client { return connect(st, transport(st)) }
