"""Version ``disagg.dev/v1alpha1`` of the API."""

GROUP = "disagg.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "DisaggDeployment"
PLURAL = "disaggdeployments"
SCALER_KIND = "DisaggScaler"
SCALER_PLURAL = "disaggscalers"
