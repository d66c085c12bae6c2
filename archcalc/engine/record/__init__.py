"""One run under a recorder: forward passes and training steps become traces."""
