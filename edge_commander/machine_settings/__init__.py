"""What a person puts beside the image: network, time servers, galley.yaml and its files, on the esp or a stick."""
