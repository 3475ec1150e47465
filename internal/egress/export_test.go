package egress

// GraphQLKind is for the fuzzer, which has bodies and no requests.
var GraphQLKind = graphQLKind
