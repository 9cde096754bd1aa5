"""Decoders for the containers that datasets come in, without the frameworks that wrote them."""
