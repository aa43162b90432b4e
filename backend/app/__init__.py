"""The MAYA backend: tenants, their users and the settings of their receptionist, over HTTP."""
