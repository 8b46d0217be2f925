"""gRPC building blocks: addresses, metadata, values, status mapping, handler wrapping, patches."""
