"""The GraphQL documents that Fairlead sends to Railway, and nothing else. Each asks for what its record holds."""

from typing import Final

PROJECT_TOKEN: Final = """
query projectToken {
  projectToken {
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

PROJECT: Final = """
query project($id: String!) {
  project(id: $id) {
    id
    name
    services(first: 100) { edges { node { id name } } }
    environments(first: 100) { edges { node { id name } } }
  }
}
"""

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

DEPLOYMENT_EVENTS: Final = """
query deploymentEvents($id: String!, $first: Int) {
  deploymentEvents(id: $id, first: $first) {
    edges { node { id step createdAt completedAt payload { error detail skipped } } }
  }
}
"""

DEPLOYMENT_ROLLBACK: Final = """
mutation deploymentRollback($id: String!) {
  deploymentRollback(id: $id)
}
"""

DEPLOYMENT_CANCEL: Final = """
mutation deploymentCancel($id: String!) {
  deploymentCancel(id: $id)
}
"""

SERVICE_INSTANCE: Final = """
query serviceInstance($environmentId: String!, $serviceId: String!) {
  serviceInstance(environmentId: $environmentId, serviceId: $serviceId) {
    serviceId
    startCommand
    preDeployCommand
    healthcheckPath
    healthcheckTimeout
    overlapSeconds
    drainingSeconds
    numReplicas
    restartPolicyType
    restartPolicyMaxRetries
    dockerfilePath
    sleepApplication
  }
}
"""

SERVICE_INSTANCE_UPDATE: Final = """
mutation serviceInstanceUpdate($environmentId: String!, $serviceId: String!, $input: ServiceInstanceUpdateInput!) {
  serviceInstanceUpdate(environmentId: $environmentId, serviceId: $serviceId, input: $input)
}
"""

VARIABLES: Final = """
query variables($projectId: String!, $environmentId: String!, $serviceId: String!) {
  variables(projectId: $projectId, environmentId: $environmentId, serviceId: $serviceId, unrendered: true)
}
"""

DEPLOYMENT_VARIABLES: Final = """
query variablesForServiceDeployment($projectId: String!, $environmentId: String!, $serviceId: String!) {
  variablesForServiceDeployment(projectId: $projectId, environmentId: $environmentId, serviceId: $serviceId)
}
"""

TRAFFIC: Final = """
query traffic(
  $environmentId: String!
  $serviceId: String!
  $startDate: DateTime!
  $endDate: DateTime!
  $stepSeconds: Int
) {
  httpMetricsGroupedByStatus(
    environmentId: $environmentId
    serviceId: $serviceId
    startDate: $startDate
    endDate: $endDate
    stepSeconds: $stepSeconds
  ) { statusCode samples { ts value } }
  httpDurationMetrics(
    environmentId: $environmentId
    serviceId: $serviceId
    startDate: $startDate
    endDate: $endDate
    stepSeconds: $stepSeconds
  ) { samples { ts p95 } }
}
"""

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
    "project": PROJECT,
    "deployments": DEPLOYMENTS,
    "deployment": DEPLOYMENT,
    "deploymentEvents": DEPLOYMENT_EVENTS,
    "deploymentRollback": DEPLOYMENT_ROLLBACK,
    "deploymentCancel": DEPLOYMENT_CANCEL,
    "serviceInstance": SERVICE_INSTANCE,
    "serviceInstanceUpdate": SERVICE_INSTANCE_UPDATE,
    "variables": VARIABLES,
    "variablesForServiceDeployment": DEPLOYMENT_VARIABLES,
    "traffic": TRAFFIC,
    "deploymentLogs": DEPLOYMENT_LOGS,
    "buildLogs": BUILD_LOGS,
}
