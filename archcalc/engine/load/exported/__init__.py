"""Programs of torch.export from their files, of which no pickle is opened."""
