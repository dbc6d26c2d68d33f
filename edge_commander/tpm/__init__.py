"""Device keys, proof of identity and the highest epoch in a TPM 2.0."""
