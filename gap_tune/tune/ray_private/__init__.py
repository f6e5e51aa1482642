"""What Ray does not promise: the only folder that touches it, each fact under a contract test."""
