"""The GraphQL documents that Fairlead sends to Railway, and nothing else. Each asks for what its record holds."""

from typing import Final

PROJECT_TOKEN: Final = """
query projectToken {
  projectToken {
    name
    projectId
    environmentId
    project {
      name
      services(first: 100) { edges { node { id name } } }
    }
    environment { name }
  }
}
"""  # noqa: S105  # a document, no secret

_DEPLOYMENT: Final = """
fragment facts on Deployment {
  id
  status
  statusUpdatedAt
  createdAt
  url
  staticUrl
  deploymentStopped
  canRollback
  meta
  diagnosis
}
"""

DEPLOYMENTS: Final = (
    """
query deployments($input: DeploymentListInput!, $first: Int) {
  deployments(input: $input, first: $first) { edges { node { ...facts } } }
}
"""
    + _DEPLOYMENT
)

DEPLOYMENT: Final = (
    """
query deployment($id: String!) {
  deployment(id: $id) { ...facts }
}
"""
    + _DEPLOYMENT
)

DEPLOYMENT_LOGS: Final = """
query deploymentLogs($deploymentId: String!, $limit: Int, $startDate: DateTime) {
  deploymentLogs(deploymentId: $deploymentId, limit: $limit, startDate: $startDate) { timestamp message severity }
}
"""

BUILD_LOGS: Final = """
query buildLogs($deploymentId: String!, $limit: Int, $startDate: DateTime) {
  buildLogs(deploymentId: $deploymentId, limit: $limit, startDate: $startDate) { timestamp message severity }
}
"""

#: Every document by the name of its operation.
DOCUMENTS: Final = {
    "projectToken": PROJECT_TOKEN,
    "deployments": DEPLOYMENTS,
    "deployment": DEPLOYMENT,
    "deploymentLogs": DEPLOYMENT_LOGS,
    "buildLogs": BUILD_LOGS,
}
