"""The unit screen: reads the alert topics, shows them in a browser, takes answers; needs no worker."""
